"""The errors a sender can get from the transport; `details["outcome"]` tells programs whether a handler may have run.

`not_sent`: it never left. `not_started`: it arrived and was not started. `unknown`: it may have been handled.
"""

from __future__ import annotations

import traceback

from catga_core.errors import (
    CatgaError,
    ConcurrencyLimitError,
    HandlerNotFoundError,
    InternalError,
    MessageTooLargeError,
    Outcome,
    RequestTimeoutError,
    TransportError,
)
from catga_core.messages import MessageType


def unhandled(subject: str, *, handled_before: bool = False) -> CatgaError:
    """No process subscribes.

    Args:
        subject: The request's subject.
        handled_before: Whether one has answered this sender before, and so may be restarting.
    """
    if handled_before:
        return HandlerNotFoundError(
            f"no process handles {subject} now, and one did before: it may be restarting. Retry, and start a second replica "
            "to deploy without a gap.",
            outcome=Outcome.NOT_STARTED,
            retryable=True,
            details={"handled_before": True},
        )
    return HandlerNotFoundError(
        f"no process handles {subject}: start a service with a handler for it, or check subject_prefix",
        outcome=Outcome.NOT_STARTED,
    )


def returning(servers: str, subject: str) -> CatgaError:
    """Nobody listens, shortly after the connection came back: those who do may still be on their way."""
    return TransportError(
        f"the connection to NATS at {servers} has just come back, and no process that handles {subject} has yet: "
        "try again",
        outcome=Outcome.NOT_STARTED,
    )


def interrupted(servers: str) -> CatgaError:
    """The connection was lost while the answer was awaited."""
    return TransportError(
        f"the connection to NATS at {servers} was lost before the answer came: "
        "the request may or may not have been handled",
        outcome=Outcome.UNKNOWN,
    )


def closed(servers: str) -> CatgaError:
    """Return the error for a request whose connection was closed before its response."""
    return TransportError(
        f"the connection to NATS at {servers} was closed before the answer came: the request may or may not have been handled",
        outcome=Outcome.UNKNOWN,
    )


def stream_interrupted(servers: str) -> CatgaError:
    """Return the error for a stream whose connection was lost, so that frames may be missing."""
    return TransportError(
        f"the connection to NATS at {servers} was lost before the end of the stream: ask again, from the items on that you have",
        outcome=Outcome.UNKNOWN,
    )


def stream_lost(message_type: MessageType, why: str) -> CatgaError:
    """Return the error for a stream whose other side is lost, or frames of it.

    Args:
        message_type: The stream query's type.
        why: What happened, the end of a sentence.
    """
    return TransportError(
        f"the stream of {message_type} ended before its last item, because {why}: ask again, from the items on that you have",
        outcome=Outcome.UNKNOWN,
    )


def stream_late(message_type: MessageType) -> CatgaError:
    """Return the error for a stream that did not end before its deadline."""
    return RequestTimeoutError(
        f"The stream of {message_type.name} did not finish before its deadline. Retry with a longer timeout.",
        outcome=Outcome.UNKNOWN,
    )


def too_late(message_type: MessageType) -> CatgaError:
    """The deadline had passed before it was sent."""
    return RequestTimeoutError(
        f"the deadline of {message_type} had passed before it was sent: give it more time",
        outcome=Outcome.NOT_SENT,
    )


def expired(message_type: MessageType) -> CatgaError:
    """The deadline had passed when it arrived."""
    return RequestTimeoutError(
        f"{message_type} arrived after its deadline and was not started: give it more time, or check the clocks",
        outcome=Outcome.NOT_STARTED,
    )


def busy(message_type: MessageType, limit: int) -> CatgaError:
    """As many are being handled as may be."""
    return ConcurrencyLimitError(str(message_type), limit)


def shutting_down(message_type: MessageType, *, started: bool) -> CatgaError:
    """The receiver stops."""
    if started:
        return TransportError(
            f"{message_type} was cancelled, because its receiver is shutting down", outcome=Outcome.UNKNOWN
        )
    return TransportError(
        f"{message_type} was not started, because its receiver is shutting down", outcome=Outcome.NOT_STARTED
    )


def unsendable(message_type: MessageType, error: Exception) -> CatgaError:
    """Return the error for a request that failed here, before or after it was handled, in a way that no rule expects."""
    return InternalError(
        f"{message_type} failed in its sender with a {type(error).__name__}; see the log for its place. It may have been "
        "handled; check before you retry.",
        outcome=Outcome.UNKNOWN,
    )


def internal(message_type: MessageType) -> CatgaError:
    """An endpoint raised, which it never should."""
    text = f"{message_type} failed inside its receiver: see the receiver's log"
    return InternalError(text)


def unsent(message_type: MessageType) -> CatgaError:
    """The answer could not be sent in time."""
    return TransportError(
        f"{message_type} was handled, and its answer was not sent by its deadline, because the NATS server had not read "
        "earlier answers: retry, or send smaller answers",
        outcome=Outcome.UNKNOWN,
    )


def whereabouts(error: BaseException) -> str:
    """Return which kind of error was raised and where, for a log line.

    Neither its text nor its traceback: an error's text may quote the message, and structlog's console shows the local
    variables of every frame where rich is installed.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


_SHORT = 400


def shortened(error: CatgaError) -> CatgaError:
    """Return an error that fits where the whole one does not: with its code, the beginning of its text and its outcome."""
    mark = "... (shortened, the server takes no more)"
    text = error.message if len(error.message) <= _SHORT else error.message[:_SHORT] + mark
    outcome = error.outcome
    details = {"shortened": True, **({} if outcome is None else {"outcome": str(outcome)})}
    return CatgaError(text, code=error.code, retryable=error.retryable, details=details)


def too_large(what: str, size: int, limit: int) -> CatgaError:
    """More bytes than the wire takes."""
    return MessageTooLargeError(what, size, limit, fix="raise max_payload on the NATS server and its clients")
