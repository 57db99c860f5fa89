"""The shapes in which handlers and pipelines are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult

Call: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Handles a message; gives a value or a result, and may raise."""

Chain: TypeAlias = Callable[[Any], Coroutine[Any, Any, CatgaResult[Any]]]
"""Handles a message; gives a result and raises nothing but cancellation."""

Handle: TypeAlias = Callable[[Any, MessageContext], Coroutine[Any, Any, CatgaResult[Any]]]
"""Handles a message in a given context; gives a result and raises nothing but cancellation."""

Fail: TypeAlias = Callable[[BaseException, str], CatgaResult[Any]]
"""Turns what was raised, and the name of what raised it, into a failed result."""
