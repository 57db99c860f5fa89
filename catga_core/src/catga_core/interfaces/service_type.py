"""How a service's type is typed, so that a type checker knows exactly which service is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

S = TypeVar("S")

MYPY = False  # mypy takes a name like this for true, whatever it is (its manual: "Using MYPY constant")


class ServiceType(Protocol[S]):
    """Any class, abstract ones and Protocols included, seen so that `S` is exactly that class.

    `type[S]` would let `add_singleton(Gateway, Unrelated)` pass, with `S` widened to what both have in common, and
    would refuse Protocols. Both members bind `S` without any room: pyright reads it off the first, whose list is
    invariant, mypy off the second, which an attribute could replace; neither checker understands the other's.
    The order matters: pyright uses the first member.
    """

    if not MYPY:

        def __subclasses__(self) -> list[type[S]]:
            """Return the classes derived from it."""
            ...

    __call__: Callable[..., S]
