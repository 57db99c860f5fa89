"""Publishes into streams: every publish waits for its acknowledgement in one table of all that are under way."""

from __future__ import annotations

import msgspec

from catga_core.errors import CatgaError, Outcome, PersistenceError, TransportError
from catga_nats import headers as headers_form
from catga_nats.connection import NatsConnection
from catga_nats.failures import too_large
from catga_nats.jetstream.api import ask
from catga_nats.jetstream.wire import Acknowledged, Refusal
from catga_nats.mux import Answer

_decode = msgspec.json.Decoder(Acknowledged).decode

_FULL = (10047, 10077, 10023)  # insufficient resources, maximum bytes, insufficient storage


class Publishing:
    """Publishes, and returns when the server has kept the message.

    Args:
        connection: The connection.
        timeout: Seconds that an acknowledgement may take.
    """

    def __init__(self, connection: NatsConnection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout

    async def publish(self, subject: bytes, data: bytes, headers: dict[str, str], what: str) -> Acknowledged:
        """Publish a message.

        Args:
            subject: Where to.
            data: The payload.
            headers: The headers, the id among them.
            what: The message's name, for errors.

        Raises:
            CatgaError: It is not known to be kept; `outcome` tells whether it may be.
        """
        connection = self._connection
        size = len(data) + headers_form.size(headers)
        if size > connection.payload_limit:
            raise too_large(what, size, connection.payload_limit)
        return _acknowledged(await ask(connection, subject, data, headers, timeout=self._timeout), what)


def _acknowledged(answer: Answer, what: str) -> Acknowledged:
    if type(answer) is not bytes:
        # The server's word that no stream listens on the subject.
        text = f"{what} was not kept: JetStream does not answer. Check the stream and its leader, then publish it again."
        raise TransportError(text, outcome=Outcome.NOT_SENT)
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
