"""What of an error can travel: there is always something, whatever an application has put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from catga_core.errors import ErrorCode


class Refusal(msgspec.Struct, array_like=True, frozen=True):
    """A failed answer as it stands on the wire.

    Args:
        ok: `False`.
        code: The error's code.
        message: Its text.
        retryable: Its flag.
        details: Its details, as far as they have bytes.
    """

    ok: bool
    code: str
    message: str
    retryable: bool
    details: dict[str, Any]


def refusal_of(error: Any, encode: Callable[[Any], object]) -> Refusal:
    """Return the wire form of an error; it never raises.

    Args:
        error: A `CatgaError`; anything else is an `INTERNAL_ERROR`.
        encode: The format of the details; a detail it cannot encode is left out.
    """
    try:
        return Refusal(
            ok=False,
            code=_text(error.code),
            message=_text(error.message),
            retryable=bool(error.retryable),
            details=_details(error.details, encode),
        )
    except Exception:  # noqa: BLE001  # whatever an error's own attributes do, its sender gets an answer
        return last_resort(error)


def last_resort(error: object) -> Refusal:
    """Return the wire form of an error that cannot be encoded."""
    text = f"it failed with a {type(error).__name__} that cannot be sent: see the receiver's log"
    return Refusal(
        ok=False, code=str(ErrorCode.INTERNAL_ERROR), message=_text(text), retryable=False, details={}
    )


def _text(value: Any) -> str:
    text = str(value)
    # A lone surrogate has no bytes.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _details(details: Mapping[Any, Any] | None, encode: Callable[[Any], object]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in dict(details or {}).items():
        try:
            encode(value)
        except Exception:  # noqa: BLE001  # one detail without bytes does not take the others along
            if isinstance(value, str):
                made[_text(key)] = _text(value)
        else:
            made[_text(key)] = value
    return made
