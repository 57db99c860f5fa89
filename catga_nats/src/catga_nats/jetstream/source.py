"""One consumer of a queue: what was asked of it, and what has come."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from catga_core.log import MESSAGE_REFUSED, logger
from catga_nats.jetstream.consumers import ConsumerName
from catga_nats.jetstream.received import Delivery, delivery_in
from catga_nats.subscription import Subscription

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient

_EXPIRES = 10.0  # seconds that a request for messages waits at the server
_FIRST_PAUSE = (
    0.1  # seconds without a request after one was refused; twice as long after each further refusal
)
_LONGEST_PAUSE = 5.0
_LATE = 1.0  # seconds after which a request that was not ended by the server is believed lost

_ENDED = {"404", "408"}
_NOBODY = "503"
_DELETED = "Deleted"

OnMessage = Callable[["Source", Delivery, bytes, bytes, bytes, "Mapping[str, str] | None"], None]
"""Takes source, delivery, subject, acknowledgement's subject, payload and headers of a message."""


class Source:
    """Requests messages of one consumer.

    Args:
        queue: The queue.
        consumer: The consumer.
        on_message: Takes each message.
        on_change: Called when a request has ended.
        on_missing: Called when the server does not know the consumer.

    Attributes:
        ordered: Whether its messages have keys.
        outstanding: How many messages may still come of what was requested.
        pending: How many wait at the server, as of its last answer.
        refused: What the server has answered to the last request in place of messages; `None` while it serves them.
    """

    def __init__(
        self,
        queue: str,
        consumer: ConsumerName,
        on_message: OnMessage,
        on_change: Callable[[], None],
        on_missing: Callable[[], None],
    ) -> None:
        self.queue: str = queue
        self.consumer: ConsumerName = consumer
        self.ordered: bool = consumer.ordered
        self.outstanding: int = 0
        self.pending: int = 0
        self.refused: str | None = None
        self._refusals = 0
        self._paused_until = 0.0
        self._on_message = on_message
        self._on_change = on_change
        self._on_missing = on_missing
        self._request = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}".encode()
        self._inbox = b"_INBOX.%b" % secrets.token_hex(12).encode()
        self._expires_at = 0.0
        self._open = True
        self.subscription: Subscription = Subscription(self._inbox.decode(), "", self._deliver)

    def pull(self, client: CatgaClient, count: int) -> None:
        """Request messages.

        Args:
            client: A connected client.
            count: How many at most.
        """
        self.outstanding += count
        self._expires_at = asyncio.get_running_loop().time() + _EXPIRES + _LATE
        body = b'{"batch":%d,"expires":%d}' % (count, int(_EXPIRES * 1e9))
        client.send(self._request, self._inbox, body, None)

    def may_pull(self, now: float) -> bool:
        """Return whether messages may be requested: a while after a refusal."""
        return now >= self._paused_until

    def check(self, now: float) -> None:
        """Forget requests that were lost."""
        if self.outstanding and now > self._expires_at:
            self.outstanding = 0

    def forget(self) -> None:
        """Forget all requests: the connection they were made on is gone."""
        self.outstanding = 0
        self._served()

    def close(self) -> None:
        """Take nothing more of what may still arrive."""
        self._open = False

    def _deliver(self, subject: bytes, reply: bytes, data: bytes, headers: Mapping[str, str] | None) -> None:
        if subject == self._inbox:
            self._on_status(headers or {})
            return
        try:
            delivery = delivery_in(reply)
        except ValueError:
            shown = subject.decode(errors="replace")
            logger().error(MESSAGE_REFUSED, subject=shown, reason="its acknowledgement's subject is unknown")
            return
        if self.outstanding:
            self.outstanding -= 1
        self.pending = delivery.pending
        self._served()
        if self._open:
            self._on_message(self, delivery, subject, reply, data, headers)

    def _on_status(self, headers: Mapping[str, str]) -> None:
        # 404, 408: the request has ended with so many messages left; anything else ends all of them.
        left, status = headers.get("Nats-Pending-Messages", ""), headers.get("Status", "")
        ended = int(left) if left.isdigit() and status in _ENDED else self.outstanding
        self.outstanding = max(0, self.outstanding - ended)
        self.pending = 0
        if status in _ENDED:
            self._served()
            self._on_change()
            return
        # A request made at once would be refused at once.
        self.refused = f"{status} {headers.get('Description', '')}".strip()
        if status == _NOBODY or _DELETED in self.refused:
            self._on_missing()
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._refusals, 10))
        self._refusals += 1
        loop = asyncio.get_running_loop()
        self._paused_until = loop.time() + pause
        loop.call_at(self._paused_until, self._on_change)

    def _served(self) -> None:
        self.refused, self._refusals, self._paused_until = None, 0, 0.0
