"""Requests to JetStream's API: JSON in, JSON out, and errors by their number."""

from __future__ import annotations

from typing import Any

import msgspec

from catga_core.errors import CatgaError, Outcome, TransportError
from catga_nats.connection import NatsConnection
from catga_nats.mux import Answer

API_SECONDS = 5.0

STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
MESSAGE_NOT_FOUND = 10037
WRONG_LAST_SEQUENCE = 10071

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ApiError(Exception):
    """JetStream refuses a request.

    Args:
        number: `err_code` of the server, which is stable.
        text: The server's description.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} ({number})")
        self.number: int = number
        self.text: str = text


class NoJetStreamError(Exception):
    """No server answers for JetStream: it is not enabled for this account, or its leader is not there."""


async def ask(
    connection: NatsConnection,
    subject: bytes,
    payload: bytes,
    headers: dict[str, str] | None = None,
    *,
    timeout: float = API_SECONDS,
) -> Answer:
    """Send a request and return its answer.

    Args:
        connection: The connection.
        subject: Where to.
        payload: The payload.
        headers: The headers, `None` for none.
        timeout: Seconds for all of it.

    Raises:
        CatgaError: Not sent, or not answered in time.
    """
    client = connection.client
    if client is None or not client.takes_more:
        client = await connection.ready(len(payload), timeout)
    reply, future = connection.mux.open(subject, timeout)
    client.send(subject, reply, payload, headers)
    try:
        answer = await future
    except BaseException:
        connection.mux.forget(reply)
        raise
    if isinstance(answer, CatgaError):
        raise answer
    return answer


async def call(
    connection: NatsConnection, what: str, body: dict[str, Any] | None = None, *, timeout: float = API_SECONDS
) -> dict[str, Any]:
    """Call JetStream's API.

    Args:
        connection: The connection.
        what: The subject after `$JS.API.`.
        body: The request, `None` for none.
        timeout: Seconds.

    Raises:
        ApiError: The server refuses.
        NoJetStreamError: JetStream does not answer.
        CatgaError: The connection fails.
    """
    payload = b"" if body is None else _encode(body)
    answer = await ask(connection, f"$JS.API.{what}".encode(), payload, timeout=timeout)
    data, headers = answer if isinstance(answer, tuple) else (answer, None)
    assert isinstance(data, bytes)  # noqa: S101  # ask raises the errors
    if headers is not None and not data:
        raise NoJetStreamError
    return checked(data)


def checked(data: bytes) -> dict[str, Any]:
    """Return an answer of the API.

    Raises:
        ApiError: It is an error.
        TransportError: It is no answer of JetStream.
    """
    try:
        found = _decode(data)
    except msgspec.MsgspecError:
        text = "JetStream's answer is not readable: check what listens on $JS.API"
        raise TransportError(text, outcome=Outcome.UNKNOWN) from None
    error: Any = found.get("error")
    if error:
        raise ApiError(int(error.get("err_code", 0)), str(error.get("description", "")))
    return found
