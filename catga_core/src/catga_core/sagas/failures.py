"""Errors in a journal: raised again with the same class, code and message, never with a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from catga_core.errors import CatgaError, ErrorCode
from catga_core.pipeline.failures import failure_of
from catga_core.sagas.values import class_at, path_of

_PLAIN = (str, int, float, bool, bytes, type(None))
_OWN = frozenset({"code", "message", "retryable", "details"})


class Error(msgspec.Struct, frozen=True, array_like=True):
    """An error in a journal.

    Args:
        path: The import path of its class.
        code: Its code.
        message: Its message.
        retryable: Whether a retry may succeed.
        details: Its details.
        args: The arguments of an exception that is not a `CatgaError`.
        attributes: Its other attributes.
    """

    path: str
    code: str
    message: str
    retryable: bool
    details: Mapping[str, Any]
    args: tuple[Any, ...] = ()
    attributes: Mapping[str, Any] = {}


def recorded_error(error: BaseException, name: str) -> Error:
    """Return the journal form of an error.

    Args:
        error: The raised error.
        name: The name of its source.
    """
    known = failure_of(error, name).error
    own = isinstance(error, CatgaError)
    attributes = {key: value for key, value in vars(error).items() if key not in _OWN and _is_plain(value)}
    args = () if own else tuple(each for each in error.args if _is_plain(each))
    return Error(
        path_of(type(error)),
        known.code,
        known.message,
        known.retryable,
        dict(known.details),
        args,
        attributes,
    )


def raised_again(error: Error) -> Exception:
    """Return the recorded exception, a `CatgaError` if its class is unknown here."""
    cls = class_at(error.path)
    if cls is None or not issubclass(cls, Exception):
        return catga_error(error)
    try:
        made: Exception
        if issubclass(cls, CatgaError):
            made = cls.__new__(cls, error.message)
            Exception.__init__(made, error.message)
            made.__dict__.update(
                message=error.message, code=error.code, retryable=error.retryable, details=error.details
            )
        else:
            made = cls.__new__(cls, *error.args)
            made.args = error.args
        made.__dict__.update(error.attributes)
    except Exception:  # noqa: BLE001 - the constructor of an application's class may raise
        return catga_error(error)
    return made


def catga_error(error: Error) -> CatgaError:
    """Return a recorded error as a `CatgaError`, for results."""
    cls = class_at(error.path)
    if cls is not None and issubclass(cls, CatgaError):
        again = raised_again(error)
        if isinstance(again, CatgaError):
            return again
    return CatgaError(
        error.message,
        code=error.code or ErrorCode.HANDLER_FAILED,
        retryable=error.retryable,
        details=error.details,
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN)
