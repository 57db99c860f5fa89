"""How a service and what implements it are typed, so that a type checker refuses what does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeAlias, TypeVar

from dependency_injector.providers import Provider

S = TypeVar("S")

MYPY = False  # mypy takes a name like this for true, whatever it is (its manual: "Using MYPY constant")


class ServiceType(Protocol[S]):
    """Any class, abstract ones and Protocols included, seen so that `S` is exactly that class.

    `type[S]` would let `add_singleton(Gateway, Unrelated)` pass, with `S` widened to what both have in common, and
    would refuse Protocols. Both members bind `S` without any room: pyright reads it off the first, whose list is
    invariant, mypy off the second, which an attribute could replace; neither checker understands the other's.
    The order matters: pyright keeps what the first member has told.
    """

    if not MYPY:

        def __subclasses__(self) -> list[type[S]]:
            """Return the classes derived from it."""
            ...

    __call__: Callable[..., S]


Implementation: TypeAlias = (
    Callable[..., S]
    | Callable[..., Awaitable[S]]
    | Callable[..., Iterator[S]]
    | Callable[..., AsyncIterator[S]]
    | Callable[..., AbstractContextManager[S]]
    | Callable[..., AbstractAsyncContextManager[S]]
    | Provider[S]
    | S
)
"""What can stand for a service `S`: a class, a factory of any kind, a provider, or an object."""
