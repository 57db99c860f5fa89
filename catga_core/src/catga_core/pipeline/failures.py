"""How an exception becomes a failed result."""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import Any

from catga_core.descriptions import not_injected
from catga_core.errors import CatgaError, ErrorCode
from catga_core.errors.groups import as_catga_error
from catga_core.log import HANDLER_RAISED, logger, traceback_of
from catga_core.messages.context import active_context
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.runtime.cancellation import cancelled_itself, passes_through


def failure_of(error: BaseException, handler: str) -> CatgaResult[Any]:
    """Return the failed result for what a handler or behavior raised.

    Args:
        error: A `CatgaError` keeps its code, flag and details, and so does a group of only such errors, as
            `asyncio.TaskGroup` raises; anything else becomes `HANDLER_FAILED`. The original stays reachable in this process
            as the error's `__cause__`, and never travels.
        handler: The name of what raised.
    """
    known = as_catga_error(error)
    if known is not None:
        return Failure(known)
    if isinstance(error, asyncio.CancelledError):
        failed = cancelled_itself(handler)
        failed.__cause__ = error
        return Failure(failed)
    text = not_injected(error) or _text_of(error)
    kind = type(error).__name__
    failed = CatgaError(
        f"{handler} failed: {text}" if text else f"{handler} failed with {kind}",
        code=ErrorCode.HANDLER_FAILED,
        details={"exception": kind},
    )
    failed.__cause__ = error
    return Failure(failed)


def reported_failure_of(error: BaseException, handler: str) -> CatgaResult[Any]:
    """Return the failed result of `failure_of`, and log an unexpected exception with its traceback.

    The traceback does not travel to the sender, so this line is the place to look into the failure.

    Args:
        error: What was raised.
        handler: The name of what raised.
    """
    if as_catga_error(error) is None:
        context = active_context.get()
        logger().error(
            HANDLER_RAISED,
            handler=handler,
            error=type(error).__name__,
            message_id=None if context is None else context.message_id,
            correlation_id=None if context is None else context.correlation_id,
            stack=traceback_of(error),
        )
    return failure_of(error, handler)


def must_raise(error: BaseException, bound: object) -> bool:
    """Return whether an exception is not the message's outcome, and must be raised on.

    Args:
        error: What was raised; not an `Exception`.
        bound: What the pipeline bound as the active context, `None` where it bound nothing. A coroutine that is closed
            from outside sees the context variables of the task that closes it: that identifies a handler's own `GeneratorExit`.
    """
    if isinstance(error, GeneratorExit):
        return bound is None or active_context.peek() is not bound
    return passes_through(error)


def raised_of(failure: Failure[Any]) -> Exception:
    """Return what a handler raised.

    Args:
        failure: A pipeline's result.

    Returns:
        The original exception of an error that `failure_of` made, else the error itself.
    """
    error, cause = failure.error, failure.error.__cause__
    if (
        error.code == ErrorCode.HANDLER_FAILED
        and isinstance(cause, Exception)
        and not isinstance(cause, CatgaError)
        and error.details.get("exception") == type(cause).__name__
    ):
        return cause
    return error


def no_result(given: object, behaviors: str) -> CatgaResult[Any]:
    """Return the failed result for a behavior that returned something else than a result.

    Args:
        given: What came out of the pipeline.
        behaviors: The names of those it came through.
    """
    return Failure(
        CatgaError(
            f"{behaviors} returned {type(given).__name__} instead of a result: "
            "a behavior ends with return await next(message), or with its own CatgaResult",
            code=ErrorCode.INTERNAL_ERROR,
        )
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose text cannot be made is an outcome all the same
        return ""


def as_result(value: Any) -> CatgaResult[Any]:
    """Return what a handler returned as a result: a result stays as it is, any other value is a success.

    Raises:
        TypeError: For a coroutine that was not awaited.
    """
    cls = value.__class__
    if cls in NOT_BARE_VALUES:
        if cls is CoroutineType:
            raise _not_awaited(value)
        return value  # type: ignore[no-any-return]
    return Success(value)


NOT_BARE_VALUES = frozenset({Success, Failure, CoroutineType})
"""The classes of what a handler may return besides a bare value: one look-up serves results and forgotten awaits."""


def _not_awaited(given: CoroutineType[Any, Any, Any]) -> TypeError:
    # Closed, it does not warn by itself as well.
    given.close()
    name = given.__qualname__.split("<locals>.")[-1]
    return TypeError(f"it returned what {name}() gives before it is awaited: write await {name}(...)")


def cause_of(result: CatgaResult[Any]) -> BaseException | None:
    """Return the exception a result stands for, `None` for a success: what a unit of work rolls back on."""
    if isinstance(result, Failure):
        error = result.error
        return error.__cause__ or error
    return None
