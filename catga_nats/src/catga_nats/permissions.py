"""Permissions that the server refuses: recorded by subject, reported to senders and in health, and requested again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from catga_core.errors import CatgaError, Outcome, TransportError
from catga_core.log import PERMISSION_DENIED, PERMISSION_GRANTED, logger
from catga_core.runtime import background_task
from catga_nats.counters import Counters
from catga_nats.mux import RequestMux

_VIOLATION = re.compile(r'permissions violation for (publish|subscription)[^"]*"([^"]*)"', re.IGNORECASE)
_CONFIRM_WITHIN = 2.0  # seconds that a publisher waits for a server that does not answer
_RESPONSES_FOR = 60.0  # seconds without a refused response after which health does not mention it
_SHOWN = 20  # denied subjects that an error or health names at most


class Permissions:
    """What the server lets this connection publish and subscribe to, as far as it has said.

    NATS refuses a single message or subscription by an error line that names the subject, and says nothing when it
    accepts one. What was accepted is therefore known from an answer, or from a round trip after the message.

    Args:
        prefix: The first word of the subjects of requests and events; every other subject is a peer's inbox.
        mux: The requests that wait for an answer.
        counters: Where to count.
    """

    def __init__(self, prefix: str, mux: RequestMux, counters: Counters) -> None:
        self.accepted: set[bytes] = set()
        self.denied: dict[bytes, int] = {}
        self.denied_subscriptions: set[str] = set()
        self._handled: set[bytes] = set()
        # JetStream is asked and not answered: a refusal there is one of a request as well.
        self._own = (prefix + ".", "$JS.API.", "$KV.")
        self._mux = mux
        self._counters = counters
        self._refusals: dict[bytes, int] = {}
        self._checks: dict[bytes, asyncio.Task[bool]] = {}
        self._response_refused_at = float("-inf")

    def reset(self) -> None:
        """Forget everything: the next connection may have other permissions."""
        self._handled |= self.accepted
        self.accepted.clear()
        self.denied.clear()
        self.denied_subscriptions.clear()
        self._mux.refused = None
        self._refusals.clear()
        self._response_refused_at = float("-inf")

    # --- what the server says ---

    def on_refusal(self, text: str) -> None:
        """Record an error line of the server that ends neither the connection nor anything else.

        Args:
            text: The line, as the server wrote it.
        """
        self._counters.permissions_denied += 1
        found = _VIOLATION.search(text)
        if found is not None and found[1].lower() == "publish":
            self._publish_denied(found[2])
        else:
            # "Maximum subscriptions exceeded" names no subject.
            self._subscription_denied(found[2] if found is not None else "", text)

    def answered(self, subject: bytes, reply: bytes, *, handled: bool) -> None:
        """Record that a request was accepted, because its answer has arrived.

        Args:
            subject: The request's subject.
            reply: The place of its answer.
            handled: Whether a process has answered, and not the server for lack of one.
        """
        if handled:
            self.accepted.add(subject)
        denied_after = self.denied.get(subject)
        if denied_after is not None and self._mux.number(reply) > denied_after:
            self._granted(subject)

    def was_handled(self, subject: bytes) -> bool:
        """Return whether a process has answered a request to a subject before, on this connection or an earlier one."""
        return subject in self.accepted or subject in self._handled

    def subscribed(self, subject: str) -> None:
        """Record that a denied subscription was accepted."""
        if subject in self.denied_subscriptions:
            self.denied_subscriptions.discard(subject)
            if subject == self._mux.inbox:
                self._mux.refused = None
            logger().info(PERMISSION_GRANTED, permission="subscribe", subject=subject)

    async def confirm(
        self, subject: bytes, round_trip: Callable[[float], Awaitable[bool]], timeout: float
    ) -> None:
        """Return when the server has accepted an event that was just sent, or does not say so in time.

        Called without an `await` since the event was sent. One round trip serves every publisher of the subject.

        Args:
            subject: The event's subject.
            round_trip: Returns whether the server has read everything sent so far, within a number of seconds.
            timeout: Seconds to wait.

        Raises:
            TransportError: The server has refused it.
        """
        check = self._checks.get(subject)
        if check is None:
            refused = self._refusals.get(subject, 0)
            check = background_task(self._check(subject, refused, round_trip))
            self._checks[subject] = check
            check.add_done_callback(lambda _: self._checks.pop(subject, None))
        await asyncio.wait({check}, timeout=min(timeout, _CONFIRM_WITHIN))
        if check.done() and not check.cancelled() and check.result():
            raise denied("publish to", subject.decode(), Outcome.NOT_SENT)

    # --- what others learn of it ---

    @property
    def problem(self) -> str | None:
        """One sentence for a person on what is denied, `None` when nothing is."""
        named = self.named
        return f"the server denies this connection permission to {'; '.join(named)}" if named else None

    @property
    def named(self) -> list[str]:
        """What is denied, each as `publish to SUBJECT`."""
        found = [f"publish to {subject.decode()}" for subject in sorted(self.denied)]
        found += [f"subscribe to {each or 'a subject'}" for each in sorted(self.denied_subscriptions)]
        if time.monotonic() - self._response_refused_at < _RESPONSES_FOR:
            found.append("publish responses")
        return found[:_SHOWN]

    def check_subscriptions(self, subjects: Iterable[str]) -> None:
        """Refuse to start without a subscription.

        Args:
            subjects: What is subscribed to; the server has read it.

        Raises:
            TransportError: The server has refused one of them.
        """
        found = sorted(self.denied_subscriptions & {*subjects, ""})
        if found:
            raise denied("subscribe to", found[0] or "one more subject", Outcome.NOT_SENT)

    def _publish_denied(self, subject: str) -> None:
        if not subject.startswith(self._own):
            self._counters.replies_lost += 1
            self._mux.channels.refused(subject.encode(), denied("publish to", subject, Outcome.UNKNOWN))
            if time.monotonic() - self._response_refused_at > _RESPONSES_FOR:
                logger().error(PERMISSION_DENIED, permission="publish", subject=_response(subject))
            self._response_refused_at = time.monotonic()
            return
        key = subject.encode()
        if key not in self.denied:
            logger().error(PERMISSION_DENIED, permission="publish", subject=subject)
        self.denied[key] = self._mux.opened
        self._refusals[key] = self._refusals.get(key, 0) + 1
        self._mux.channels.refused(key, denied("publish to", subject, Outcome.NOT_SENT))
        if key not in self.accepted:
            self._mux.fail(key, denied("publish to", subject, Outcome.NOT_SENT))
        else:
            # It was permitted before, so that others may be under way: each refusal is one of the newest ones.
            self._mux.fail(key, denied("publish to", subject, Outcome.UNKNOWN), newest=True)

    def _subscription_denied(self, subject: str, text: str) -> None:
        if subject not in self.denied_subscriptions:
            self.denied_subscriptions.add(subject)
            logger().error(PERMISSION_DENIED, permission="subscribe", subject=subject or text)
            if subject == self._mux.inbox:
                # No answer arrives any more: of what was sent, nor of what would be.
                self._mux.refused = partial(denied, "subscribe to", subject, Outcome.NOT_SENT)
                lost = denied("subscribe to", subject, Outcome.UNKNOWN)
                self._mux.fail_all(lost)
                self._mux.channels.fail_all(lost)

    async def _check(
        self, subject: bytes, refused: int, round_trip: Callable[[float], Awaitable[bool]]
    ) -> bool:
        """Return whether the server has refused the event."""
        known = await round_trip(_CONFIRM_WITHIN)
        if self._refusals.get(subject, 0) != refused:
            return True
        if known:
            self.accepted.add(subject)
            self._granted(subject)
        return False

    def _granted(self, subject: bytes) -> None:
        if self.denied.pop(subject, None) is not None:
            logger().info(PERMISSION_GRANTED, permission="publish", subject=subject.decode())


def denied(what: str, subject: str, outcome: Outcome) -> CatgaError:
    """Return the error for a subject that the server refuses.

    Args:
        what: `publish to` or `subscribe to`.
        subject: The subject.
        outcome: What is known about the message.
    """
    return TransportError(
        f"the NATS server denies this connection permission to {what} {subject}: grant it to the user on the server, "
        "or check subject_prefix",
        outcome=outcome,
        retryable=False,
        details={"permission": what.partition(" ")[0], "subject": subject},
    )


def _response(subject: str) -> str:
    """Return the inbox that a response could not be sent to, without the part that differs each time."""
    return subject.rpartition(".")[0][:64] + ".*"
