"""Behaviors with their places in the pipeline, and the supplies of what is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from catga_core.handlers.hints import class_of
from catga_core.messages import Message
from catga_core.pipeline import BoundBehavior, Fail, Stage, Supply
from catga_core.validation.behavior import ValidationBehavior

Placed: TypeAlias = tuple[tuple[Stage, int], BoundBehavior]


def placed_validation(cls: type[Message], supplies: Sequence[Supply], fail: Fail) -> Placed:
    """Return the behavior that validates messages of a class, with the application's validators."""
    if all(supply.constant for supply in supplies):
        return placed(ValidationBehavior(cls, [supply.make(None) for supply in supplies], fail))
    checks = ValidationBehavior(cls, (), fail)
    supply = Supply(
        lambda scope: checks.with_validators([each.make(scope) for each in supplies]),
        scoped=any(each.scoped for each in supplies),
        prepare=tuple(dict.fromkeys(step for each in supplies for step in each.prepare)),
    )
    bound = BoundBehavior("ValidationBehavior", supply, code_of(ValidationBehavior))
    return (ValidationBehavior.stage, 0), bound


def code_of(target: Any) -> object:
    """Return the code of what handles in a behavior, `None` for what has none."""
    return getattr(getattr(target, "handle", None), "__code__", None)


def is_bare(handler: Any) -> bool:
    """Return whether a handler is a function and not an object with a method `handle`."""
    return callable(handler) and not hasattr(handler, "handle")


def placed(behavior: Any) -> Placed:
    """Return a behavior that every message shares, with its place."""
    cls: Any = class_of(behavior)
    return (cls.stage, 0), BoundBehavior(cls.__name__, constant(behavior), code_of(cls))


def constant(value: Any) -> Supply:
    """Return a supply of one object for every message."""
    return Supply(lambda _scope: value, constant=True)


def in_scope(supply: Supply) -> Supply:
    """Return a supply that needs the scope of a message."""
    make = supply.make
    if supply.constant:
        make = constant(make(None)).make
    return Supply(make, scoped=True, prepare=supply.prepare)


def with_make(supply: Supply, make: Callable[[Any], Any]) -> Supply:
    """Return a supply that makes something else, as often and with the same preparation."""
    return Supply(make, scoped=supply.scoped, prepare=supply.prepare)
