"""The errors a sender can get from the transport; `details["outcome"]` tells programs whether a handler may have run.

`not_sent`: it never left. `not_started`: it arrived and was not started. `unknown`: it may have been handled.
"""

from __future__ import annotations

import traceback

from catga_core.errors import CatgaError, ErrorCode
from catga_core.messages import MessageType


def failed(text: str, *, outcome: str, retryable: bool | None = None) -> CatgaError:
    """Return a `TRANSPORT_FAILED`."""
    return CatgaError(
        text, code=ErrorCode.TRANSPORT_FAILED, retryable=retryable, details={"outcome": outcome}
    )


def unhandled(subject: str) -> CatgaError:
    """Nobody listens."""
    return CatgaError(
        f"no process handles {subject}: start a service with a handler for it, or check subject_prefix",
        code=ErrorCode.HANDLER_NOT_FOUND,
        details={"outcome": "not_started"},
    )


def returning(servers: str, subject: str) -> CatgaError:
    """Nobody listens, shortly after the connection came back: those who do may still be on their way."""
    return failed(
        f"the connection to NATS at {servers} has just come back, and no process that handles {subject} has yet: "
        "try again",
        outcome="not_started",
    )


def interrupted(servers: str) -> CatgaError:
    """The connection was lost while the answer was awaited."""
    return failed(
        f"the connection to NATS at {servers} was lost before the answer came: "
        "the request may or may not have been handled",
        outcome="unknown",
    )


def too_late(message_type: MessageType) -> CatgaError:
    """The deadline had passed before it was sent."""
    return CatgaError(
        f"the deadline of {message_type} had passed before it was sent: give it more time",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "not_sent"},
    )


def expired(message_type: MessageType) -> CatgaError:
    """The deadline had passed when it arrived."""
    return CatgaError(
        f"{message_type} arrived after its deadline and was not started: give it more time, or check the clocks",
        code=ErrorCode.TIMEOUT,
        details={"outcome": "not_started"},
    )


def busy(message_type: MessageType, limit: int) -> CatgaError:
    """As many are being handled as may be."""
    return CatgaError(
        f"{limit} {message_type} are being handled here already: try again later, "
        "raise max_concurrent_requests, or start another replica",
        code=ErrorCode.CONCURRENCY_LIMITED,
        details={"outcome": "not_started"},
    )


def shutting_down(message_type: MessageType, *, started: bool) -> CatgaError:
    """The receiver stops."""
    if started:
        return failed(
            f"{message_type} was cancelled, because its receiver is shutting down", outcome="unknown"
        )
    return failed(
        f"{message_type} was not started, because its receiver is shutting down", outcome="not_started"
    )


def internal(message_type: MessageType) -> CatgaError:
    """An endpoint raised, which it never should."""
    text = f"{message_type} failed inside its receiver: see the receiver's log"
    return CatgaError(text, code=ErrorCode.INTERNAL_ERROR)


def whereabouts(error: BaseException) -> str:
    """Return which kind of error was raised and where, for a log line.

    Neither its text nor its traceback: an error's text may quote the message, and structlog's console shows the local
    variables of every frame where rich is installed.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def too_large(what: str, size: int, limit: int) -> CatgaError:
    """More bytes than the wire takes."""
    return CatgaError(
        f"{what} has {size} bytes and NATS takes {limit} here: send less, or raise max_payload on server and clients",
        code=ErrorCode.SERIALIZATION_FAILED,
        details={"size": size, "limit": limit},
    )
