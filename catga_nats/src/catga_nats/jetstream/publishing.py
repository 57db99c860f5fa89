"""Publishes into streams: every publish waits for its acknowledgement in one table of all that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from catga_core.errors import CatgaError, Outcome, PersistenceError, TransportError
from catga_nats import headers as headers_form
from catga_nats.connection import NatsConnection
from catga_nats.failures import too_large
from catga_nats.jetstream.wire import Acknowledged, Refusal
from catga_nats.mux import Answer

_decode = msgspec.json.Decoder(Acknowledged).decode

_LEADERLESS_TRIES = 4
_LEADERLESS_SECONDS = 0.25  # as long as an election lasts at best, and as nats.go waits
_FULL = (10047, 10077, 10023)  # insufficient resources, maximum bytes, insufficient storage


class Publishing:
    """Publishes, and returns when the server has kept the message.

    Args:
        connection: The connection.
        timeout: Seconds that an acknowledgement may take.
        on_missing: Called when no stream takes a message.
    """

    def __init__(self, connection: NatsConnection, timeout: float, on_missing: Callable[[], None]) -> None:
        self._connection = connection
        self._timeout = timeout
        self._on_missing = on_missing
        self._open: dict[bytes, tuple[bytes, bytes, dict[str, str]]] = {}
        # Those that were sent over another connection before.
        self._again: set[bytes] = set()
        connection.on_return.append(self._send_again)

    async def publish(self, subject: bytes, data: bytes, headers: dict[str, str], what: str) -> Acknowledged:
        """Publish a message; over a lost connection again, as soon as there is another one.

        Args:
            subject: Where to.
            data: The payload.
            headers: The headers, the id among them, so that the server keeps it once.
            what: The message's name, for errors.

        Raises:
            CatgaError: It is not known to be kept; `outcome` tells whether it may be.
        """
        connection = self._connection
        size = len(data) + headers_form.size(headers)
        if size > connection.payload_limit:
            raise too_large(what, size, connection.payload_limit)
        again = False
        answer: Answer = b""
        for tries in range(1, _LEADERLESS_TRIES + 1):
            client = connection.client
            if client is None or not client.takes_more:
                client = await connection.ready(size, self._timeout)
            reply, future = connection.mux.open(subject, self._timeout)
            self._open[reply] = subject, data, headers
            try:
                client.send(subject, reply, data, headers)
                answer = await future
            except BaseException:
                connection.mux.forget(reply)
                raise
            finally:
                del self._open[reply]
                if self._again and reply in self._again:
                    self._again.discard(reply)
                    again = True
            if type(answer) is not tuple or tries == _LEADERLESS_TRIES:
                break
            # The server's word that no stream listens on the subject: it is electing its leader, or there is none.
            self._on_missing()
            await asyncio.sleep(_LEADERLESS_SECONDS)
        return _acknowledged(answer, what, again=again)

    def _send_again(self) -> None:
        client = self._connection.client
        if client is None or not client.takes_more:
            return
        for reply, (subject, data, headers) in self._open.items():
            # The server knows by its id whether it has got it.
            self._again.add(reply)
            client.send(subject, reply, data, headers)


def _acknowledged(answer: Answer, what: str, *, again: bool) -> Acknowledged:
    if type(answer) is not bytes:
        if isinstance(answer, CatgaError):
            raise answer
        text = f"{what} was not kept: JetStream does not answer. Check the stream and its leader, then publish it again."
        # What was sent over an earlier connection may have been kept.
        raise TransportError(text, outcome=Outcome.UNKNOWN if again else Outcome.NOT_SENT)
    try:
        found = _decode(answer)
    except msgspec.MsgspecError:
        found = Acknowledged()
    if found.error is not None:
        raise _refused(found.error, what)
    if not found.stream:
        text = f"{what} was answered by something else than JetStream. Check who listens on its subject."
        raise TransportError(text, outcome=Outcome.UNKNOWN, retryable=False)
    return found


def _refused(refusal: Refusal, what: str) -> CatgaError:
    details = {"jetstream_error": refusal.err_code}
    text = f"{what} was not kept: {refusal.description} ({refusal.err_code})"
    if refusal.err_code in _FULL:
        more = f"{text}. Give the account or the stream more room, or start what handles the messages."
        return PersistenceError(more, outcome=Outcome.NOT_WRITTEN, details=details)
    # Another error of the server may come after it has proposed the message to its peers.
    outcome = Outcome.UNKNOWN if refusal.code >= 500 else Outcome.NOT_WRITTEN
    return PersistenceError(f"{text}. Publish it again.", outcome=outcome, details=details)
