"""What is known of one registered service: how it is made, how long it lives, what it needs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, get_args, get_origin

import msgspec

from catga_core.handlers.hints import class_of, is_ours, place_of, shown


class Lifetime(StrEnum):
    """How long a service lives."""

    SINGLETON = "singleton"
    """One for the container, made when it starts."""
    SCOPED = "scoped"
    """One for each message, closed when the message is done."""
    TRANSIENT = "transient"
    """A new one wherever it is needed."""


class SourceKind(StrEnum):
    """How a service is made."""

    CLASS = "class"
    FACTORY = "factory"
    ASYNC_FACTORY = "async factory"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"
    INSTANCE = "instance"
    PROVIDER = "provider"

    @property
    def is_async(self) -> bool:
        """Whether making it has to be awaited."""
        return self in {SourceKind.ASYNC_FACTORY, SourceKind.ASYNC_GENERATOR}


class Parameter(msgspec.Struct, frozen=True):
    """One thing a service needs.

    Args:
        name: The parameter's name.
        service: The type that is asked for, `None` where there is no annotation to tell.
        optional: Whether it has a default, so that the container may leave it out.
        keyword: Whether it has to be given by name.
    """

    name: str
    service: Any
    optional: bool
    keyword: bool = False


class Registration(msgspec.Struct, frozen=True, eq=False):
    """One registered service.

    Args:
        service: The type it is asked for by.
        lifetime: How long it lives.
        kind: How it is made.
        source: The class, function, object or provider.
        parameters: What it needs, resolved from the container.
        skip: How many leading parameters somebody else fills in: the message of a function handler.
        auto: Whether the resolver chooses the lifetime: scoped where the service holds anything scoped, else `lifetime`.
        after: Services that are started before this one, although it does not hold them.
        registered_at: The file and line where the application registered it, for what Catga itself makes.
    """

    service: Any
    lifetime: Lifetime
    kind: SourceKind
    source: Any
    parameters: tuple[Parameter, ...]
    skip: int = 0
    auto: bool = False
    after: tuple[Any, ...] = ()
    registered_at: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether a class or function of Catga makes it."""
        return is_ours(getattr(self.source, "__module__", None))

    @property
    def name(self) -> str:
        """The name to show: the implementation's where it has one."""
        if self.service is self.source and self.kind is SourceKind.INSTANCE:
            # A behavior or validator given as an object; what it prints as is its own affair.
            return shown(class_of(self.source))
        if not (self.kind is SourceKind.CLASS or self.skip):
            # A factory's name is its author's affair; what it makes is asked for by the service's.
            return shown(self.service)
        return _own_name(self.source) or shown(self.service)

    @property
    def described(self) -> str:
        """The name of the service, and what makes it with its place: `Session (open_session, app.py:12)`."""
        service, maker = self.name if self.skip else shown(self.service), ""
        if self.kind not in {SourceKind.INSTANCE, SourceKind.PROVIDER} and not self.is_ours:
            maker = _own_name(self.source)
        about = ", ".join(each for each in (maker if maker != service else "", self.place) if each)
        return f"{service} ({about})" if about else service

    @property
    def place(self) -> str:
        """The file and line of what makes it, empty where there is none; for Catga's own, where it was registered."""
        if self.kind in {SourceKind.INSTANCE, SourceKind.PROVIDER}:
            return ""
        return self.registered_at if self.is_ours else place_of(self.source)


def _own_name(source: Any) -> str:
    return str(getattr(source, "__qualname__", "")).split("<locals>.")[-1]


def how_registered(service: Any) -> str:
    """Return how to register a service, as a sentence without its full stop.

    Args:
        service: The type it is asked for by.
    """
    text: str | None = getattr(get_origin(service) or service, "__catga_registered_by__", None)
    if text is None:
        return f"Register one with add_singleton({shown(service)}, ...)"
    return text.format(", ".join(map(shown, get_args(service))) or "...")
