"""How the pipeline gets a handler, a behavior or a service, without knowing the container."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from catga_core.runtime.scope import Scope

Make = Callable[[Scope | None], Any]
Prepare = Callable[[Scope], Awaitable[None]]


class Supply(msgspec.Struct, frozen=True):
    """Where an object comes from.

    Args:
        make: Gives the object; is given the message's scope, or `None` where `scoped` is false.
        constant: Whether `make` always gives the same object, so that it can be asked once.
        scoped: Whether a scope is needed.
        prepare: What has to be awaited in a new scope before `make` may be called, in this order.
    """

    make: Make
    constant: bool = False
    scoped: bool = False
    prepare: tuple[Prepare, ...] = ()
