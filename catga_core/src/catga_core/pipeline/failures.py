"""How an exception becomes a failed result."""

from __future__ import annotations

from typing import Any

from catga_core.errors import CatgaError, ErrorCode
from catga_core.results import CatgaResult, Failure, Success


def failure_of(error: Exception, handler: str) -> CatgaResult[Any]:
    """Return the failed result for what a handler or behavior raised.

    Parameters:
        error: a `CatgaError` keeps its code, flag and details; anything else becomes `HANDLER_FAILED`. The original
            stays reachable in this process as the error's `__cause__`, and never travels.
        handler: the name of what raised.
    """
    if isinstance(error, CatgaError):
        return Failure(error)
    text = str(error)
    kind = type(error).__name__
    failed = CatgaError(
        f"{handler} failed: {text}" if text else f"{handler} failed with {kind}",
        code=ErrorCode.HANDLER_FAILED,
        details={"exception": kind},
    )
    failed.__cause__ = error
    return Failure(failed)


def as_result(value: Any) -> CatgaResult[Any]:
    """Return what a handler returned as a result: a result stays as it is, any other value is a success."""
    cls = value.__class__
    if cls is Success or cls is Failure:
        return value  # type: ignore[no-any-return]
    return Success(value)


def cause_of(result: CatgaResult[Any]) -> BaseException | None:
    """Return the exception a result stands for, `None` for a success: what a unit of work rolls back on."""
    if isinstance(result, Failure):
        error = result.error
        return error.__cause__ or error
    return None
