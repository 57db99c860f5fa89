"""Refusals of scripts as errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catga_core.errors import (
    CatgaError,
    CheckpointConflictError,
    ConcurrencyError,
    ConflictError,
    EventIdConflictError,
    InternalError,
    LeaseLostError,
    MessageIdConflictError,
    RepeatedEventError,
)
from catga_core.interfaces.named_values import NamedValueConflictError
from catga_core.storage_support.queues import lost_message
from catga_core.storage_support.sagas import lost_saga, missing_entries
from catga_redis.engine.failures import failed


def is_refusal(answer: object) -> bool:
    """Return whether a script refused its operation."""
    return isinstance(answer, list)


def refusal(answer: Sequence[Any]) -> CatgaError:
    """Return the error that a script's refusal means.

    Args:
        answer: A word, and what belongs to it.
    """
    word, *facts = (part.decode() if isinstance(part, bytes) else part for part in answer)
    make = _MEANINGS.get(str(word))
    if make is None:
        return InternalError(f"A script returned the unknown refusal {word!r}. Report this as a bug.")
    return make(*facts)


def _repeated(stream: str, message_id: str, version: int) -> CatgaError:
    return RepeatedEventError(stream, message_id, version)


def _fenced(name: str, token: int) -> CatgaError:
    return LeaseLostError(
        f"the checkpoint {name!r}", f"it was saved since with the newer fencing token {token}"
    )


def _moved(name: str, expected: int, actual: int) -> CatgaError:
    return CheckpointConflictError(name, expected, actual)


def _changed(name: str, expected: str, actual: str) -> CatgaError:
    values = [None if each == "none" else int(each) for each in (expected, actual)]
    return NamedValueConflictError(name, *values)


def _lost(_: str) -> CatgaError:
    # Without the key: fields of the command may be part of it.
    return LeaseLostError("the idempotency claim", "it was released, or another owner has claimed it since")


def _seen(_: str) -> CatgaError:
    return conflict("Another process recorded the same message for the same handler meanwhile. Retry.")


def _taken(sequence: str) -> CatgaError:
    return conflict(f"The outbox message {sequence} was taken over or ended by another relay.")


def _ended(message_id: str) -> CatgaError:
    return conflict(f"The queued message {message_id!r} was leased, taken over or ended meanwhile. Retry.")


def _released(key: str) -> CatgaError:
    return conflict(f"The held key {key!r} was released meanwhile. Retry.")


def _begun(transaction_id: str) -> CatgaError:
    return conflict(f"The saga {transaction_id!r} was begun meanwhile. Retry.")


def _turn(name: str) -> CatgaError:
    return conflict(f"The room for another saga {name!r} was taken meanwhile. Retry.")


def _kind(key: str, there: str, wanted: str) -> CatgaError:
    return conflict(f"The key {key!r} holds a {there} and the command needs a {wanted}. Use another key.")


def _number(key: str) -> CatgaError:
    return conflict(f"The key {key!r} does not hold an integer. Use another key.")


def _overflow(key: str) -> CatgaError:
    return conflict(f"The counts of {key!r} leave the range of 64 bits. Count by less.")


def _denied(command: str, key: str) -> CatgaError:
    return failed(
        f"The Redis user may not give {command} with the key {key!r}; nothing was written. Allow it, or use another key.",
        retryable=False,
    )


def _half(trouble: str) -> CatgaError:
    return failed(
        f"A unit of work ended in its midst ({trouble}), and a part of it may be written. Read before you retry.",
        unknown=True,
        retryable=False,
    )


def conflict(text: str, **details: Any) -> CatgaError:
    """Return a `CONFLICT`; nothing was written."""
    return ConflictError(text, details=details)


_MEANINGS: Mapping[str, Callable[..., CatgaError]] = {
    "version": ConcurrencyError,
    "repeated": _repeated,
    "reused": EventIdConflictError,
    "fenced": _fenced,
    "moved": _moved,
    "changed": _changed,
    "lost": _lost,
    "seen": _seen,
    "known": MessageIdConflictError,
    "taken": _taken,
    "ended": _ended,
    "released": _released,
    "left": lost_message,
    "saga": lost_saga,
    "gap": missing_entries,
    "begun": _begun,
    "turn": _turn,
    "kind": _kind,
    "number": _number,
    "overflow": _overflow,
    "denied": _denied,
    "half": _half,
}
