"""Makes one thing that lasts, at once or by waiting for it, and says how it is closed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from catga_core.container.di.registration import Registration, SourceKind
from catga_core.runtime.scope import (
    Closer,
    closer_of_async_generator,
    closer_of_generator,
    closer_of_object,
    first_of,
    first_of_async,
)

Product: TypeAlias = tuple[Any, Closer | None]
Arguments: TypeAlias = Callable[[Registration], Mapping[str, Any]]


class AsyncNeeded(LookupError):  # noqa: N818 - control flow between resolver and container
    """A singleton has to be awaited before the graph can be used."""


def product_now(registration: Registration, arguments: Arguments) -> Product:
    """Make what a registration gives, without waiting.

    Args:
        registration: How it is made.
        arguments: Gives what it is made of; asked only where something is given.

    Raises:
        AsyncNeeded: When it has to be awaited.
    """
    if registration.kind.is_async:
        raise AsyncNeeded
    source = registration.source
    if registration.kind is SourceKind.INSTANCE:
        # The code that made the object closes it.
        return source, None
    if registration.kind is SourceKind.PROVIDER:
        made = source()
        if inspect.isawaitable(made):
            # Only asking shows that it has to be awaited; a caller that can await asks again.
            _give_up(made)
            raise AsyncNeeded
        return made, None
    made = source(**arguments(registration))
    if registration.kind is SourceKind.GENERATOR:
        return first_of(made), closer_of_generator(made)
    return made, closer_of_object(made)


async def product(registration: Registration, arguments: Arguments) -> Product:
    """Make what a registration gives, awaiting it where it has to be.

    Args:
        registration: How it is made.
        arguments: As for `product_now`.
    """
    if registration.kind is SourceKind.PROVIDER:
        made = registration.source()
        return (await made if inspect.isawaitable(made) else made), None
    if not registration.kind.is_async:
        return product_now(registration, arguments)
    made = registration.source(**arguments(registration))
    if registration.kind is SourceKind.ASYNC_GENERATOR:
        return await first_of_async(made), closer_of_async_generator(made)
    made = await made
    return made, closer_of_object(made)


def _give_up(begun: Any) -> None:
    (begun.close if inspect.iscoroutine(begun) else begun.cancel)()
