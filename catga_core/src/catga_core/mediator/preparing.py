"""Asks for pipelines until what they need has been made, and says so where it cannot be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from catga_core.errors import CatgaError, ErrorCode
from catga_core.mediator.routes import NotPrepared, Route, RouteSource
from catga_core.messages import Message, MessageType

T = TypeVar("T")


async def prepared(source: RouteSource, find: Callable[[], T]) -> T:
    """Return what is found, making first what has to be awaited.

    Args:
        source: Makes it.
        find: Asks the source; raises `NotPrepared` until everything is there.
    """
    while True:
        try:
            return find()
        except NotPrepared:
            await source.prepare()


async def route_to(
    source: RouteSource, described: MessageType, find: Callable[[type[Message]], Route | None]
) -> Route | None:
    """Return a message's pipeline, making first what has to be awaited.

    Args:
        source: Makes it.
        described: The message's type.
        find: The source's own method for this kind of message.

    Raises:
        CatgaError: When something it needs cannot be made.
    """
    try:
        return await prepared(source, lambda: find(described.cls))
    except CatgaError:
        raise
    except Exception as error:
        raise not_built(described, error) from error


def not_built(described: MessageType, error: Exception) -> CatgaError:
    """Return the error for a message whose handler cannot be made."""
    if isinstance(error, CatgaError):
        return error
    failed = CatgaError(
        f"{described.name} was not handled: a dependency of its handler could not be created. {error}",
        code=ErrorCode.INTERNAL_ERROR,
    )
    failed.__cause__ = error
    return failed
