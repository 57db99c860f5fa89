"""Detects code of a saga between its steps, which runs again after a crash."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from contextvars import ContextVar, Token
from typing import Any
from unittest.mock import patch

from catga_core.messages.context import active_context
from catga_core.sagas import SagaContext
from catga_core.sagas.branches import current_branch

_inside: ContextVar[bool] = ContextVar("catga_testing_inside_context", default=False)
"""Whether a method of the context runs; calls within Catga are allowed."""

_METHODS = tuple(
    name
    for name, value in vars(SagaContext).items()
    if inspect.isfunction(value) and not name.startswith("_") and name != "gather"
)


def in_code_of_saga() -> bool:
    """Return whether the running task is in `execute` of a saga, and in none of its steps."""
    return current_branch.get(None) is not None and not _inside.get() and active_context.peek() is None


def watch_contexts(stack: ExitStack) -> None:
    """Mark the methods of `SagaContext` while they run, until a stack is closed."""
    for name in _METHODS:
        method = vars(SagaContext)[name]
        stack.enter_context(patch.object(SagaContext, name, _marked(method)))
    stack.enter_context(patch.object(SagaContext, "gather", _marked_gather(SagaContext.gather)))


def outside(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function during which all calls are allowed, as for log lines."""

    @functools.wraps(call)
    def marked(*args: Any, **options: Any) -> Any:
        token = _inside.set(True)
        try:
            return call(*args, **options)
        finally:
            _inside.reset(token)

    return marked


def _marked(method: Callable[..., Any]) -> Callable[..., Any]:
    if not inspect.iscoroutinefunction(method):
        return outside(method)

    @functools.wraps(method)
    async def marked(*args: Any, **options: Any) -> Any:
        token = _inside.set(True)
        try:
            return await method(*args, **options)
        finally:
            _end(token)

    return marked


def _marked_gather(gather: Callable[..., Any]) -> Callable[..., Any]:
    marked = _marked(gather)

    @functools.wraps(gather)
    async def call(self: SagaContext, *branches: Awaitable[Any], **options: Any) -> Any:
        try:
            return await marked(self, *map(_as_code, branches), **options)
        finally:
            # Those whose task was cancelled before it began.
            for each in branches:
                getattr(each, "close", lambda: None)()

    return call


async def _as_code(branch: Awaitable[Any]) -> Any:
    # A separate task, whose copied context says that a method of the context runs.
    token = _inside.set(False)
    try:
        return await branch
    finally:
        _end(token)


def _end(token: Token[bool]) -> None:
    # A coroutine that is thrown away is closed elsewhere.
    with suppress(ValueError):
        _inside.reset(token)
