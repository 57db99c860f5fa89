"""Where each kind of thing comes from: an object, a provider, a compiled call, a message's own scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from catga_core.container.di.making import (
    async_opener,
    compile_call,
    context_of,
    prepared,
    quick_opener,
    sync_opener,
)
from catga_core.container.di.registration import Parameter, Registration, SourceKind
from catga_core.pipeline.supply import Prepare, Supply
from catga_core.runtime.scope import is_closable

CONTEXT = Supply(context_of, scoped=True)
"""Gives the context of the message that is being handled."""


def of_object(made: Any) -> Supply:
    """Return what gives one object again and again.

    Args:
        made: The object.
    """
    return Supply(lambda _scope: made, constant=True)


def of_provider(registration: Registration, given: Sequence[Supply]) -> Supply:
    """Return what asks a dependency-injector provider each time.

    Args:
        registration: Of the provider.
        given: What the provider asks the container for.
    """
    source = registration.source
    return Supply(
        lambda _scope: source(),
        scoped=any(supply.scoped for supply in given),
        prepare=_prepare_all(given),
    )


def of_call(
    registration: Registration, held: Sequence[tuple[Parameter, Supply | None]], attribute: str = ""
) -> Supply:
    """Return what makes a new object each time.

    Args:
        registration: How it is made.
        held: What it is given, `None` for what is optional and not there.
        attribute: What to give of the object, such as `.handle`.
    """
    given = [supply for _, supply in held if supply is not None]
    return Supply(
        compile_call(registration, held, attribute),
        scoped=any(supply.scoped for supply in given),
        prepare=_prepare_all(given),
    )


def of_scope(registration: Registration, inner: Supply, is_kept: Callable[[Any], bool]) -> Supply:
    """Return what gives one object for each message.

    Args:
        registration: Of a scoped service.
        inner: Makes it.
        is_kept: Tells whether an object is a singleton, and so closed elsewhere.
    """
    make, kind, prepare = inner.make, registration.kind, inner.prepare
    if kind.is_async:
        opener = prepared(registration.service)
        prepare = (*prepare, async_opener(registration, make, is_kept))
    elif kind is SourceKind.CLASS and not is_closable(registration.source):
        opener = quick_opener(registration, make)
    else:
        opener = sync_opener(registration, make, is_kept)
    return Supply(opener, scoped=True, prepare=prepare)


def _prepare_all(given: Iterable[Supply]) -> tuple[Prepare, ...]:
    return tuple(dict.fromkeys(each for supply in given for each in supply.prepare))
