"""What an operation's check answers instead of doing it, as an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catga_core.errors import CatgaError, ConcurrencyError, ErrorCode, LeaseLostError


def is_refusal(answer: object) -> bool:
    """Tell whether an operation that can be refused was."""
    return isinstance(answer, list)


def refusal(answer: Sequence[Any]) -> CatgaError:
    """Return the error that a script's refusal means.

    Parameters:
        answer: a word, and what belongs to it.
    """
    word, *facts = (part.decode() if isinstance(part, bytes) else part for part in answer)
    make = _MEANINGS.get(str(word))
    if make is None:
        return CatgaError(f"a script answered {word!r}, which nobody knows", code=ErrorCode.INTERNAL_ERROR)
    return make(*facts)


def _repeated(stream: str, message_id: str, version: int) -> CatgaError:
    return CatgaError(
        f"stream {stream!r} already has the event {message_id!r}, at version {version}, and not the others it comes with: "
        "give new events new message ids",
        code=ErrorCode.CONFLICT,
        retryable=False,
        details={"stream_id": stream, "message_id": message_id, "version": version},
    )


def _fenced(name: str, token: int) -> CatgaError:
    return LeaseLostError(f"the checkpoint {name!r}", f"it was saved with fencing token {token} since")


def _moved(name: str, expected: int, actual: int) -> CatgaError:
    return conflict(
        f"the checkpoint {name!r} was expected at position {expected}, and is at {actual}: load it again",
        expected=expected,
        actual=actual,
    )


def _lost(key: str) -> CatgaError:
    return LeaseLostError(f"the claim of {key!r}", "it was given back, or another has claimed it since")


def _seen(_: str) -> CatgaError:
    return conflict("another has noted the same message for the same handler meanwhile: try again")


def _taken(sequence: str) -> CatgaError:
    return conflict(f"the outbox message {sequence} was taken over or ended by another relay meanwhile")


def _kind(key: str, there: str, wanted: str) -> CatgaError:
    return conflict(f"the key {key!r} holds a {there} and the command is for a {wanted}: use another key")


def _number(key: str) -> CatgaError:
    return conflict(f"the key {key!r} holds no whole number to count with: use another key")


def conflict(text: str, **details: Any) -> CatgaError:
    """Return a `CONFLICT`; nothing was written."""
    return CatgaError(text, code=ErrorCode.CONFLICT, details=details)


_MEANINGS: Mapping[str, Callable[..., CatgaError]] = {
    "version": ConcurrencyError,
    "repeated": _repeated,
    "fenced": _fenced,
    "moved": _moved,
    "lost": _lost,
    "seen": _seen,
    "taken": _taken,
    "kind": _kind,
    "number": _number,
}
