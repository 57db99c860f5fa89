"""What replaces a service for a while: layers that can be left in any order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from catga_core.container.di.registration import Registration


class Override:
    """One replacement in force; leave it as a context manager or by `restore()`.

    Leaving it restores what would be there without it, also when others came after it and are still in force.
    """

    __slots__ = ("_restore", "number", "registration", "service")

    def __init__(self, number: int, registration: Registration, restore: Callable[[Override], None]) -> None:
        self.number: int = number
        self.service: Any = registration.service
        self.registration: Registration = registration
        self._restore = restore

    def restore(self) -> None:
        """Take the replacement back; a second time does nothing."""
        self._restore(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


class Overriding:
    """Several replacements that are taken back together; leave it as a context manager or by `restore()`."""

    __slots__ = ("_restores",)

    def __init__(self) -> None:
        self._restores: list[Callable[[], object]] = []

    def add(self, restore: Callable[[], object]) -> None:
        """Take one more replacement in."""
        self._restores.append(restore)

    def restore(self) -> None:
        """Take the replacements back; a second time does nothing."""
        while self._restores:
            self._restores.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


class Overrides:
    """The layers in force, by service.

    Args:
        changed: Called with the service after each change.
    """

    __slots__ = ("_changed", "_layers", "_numbers")

    def __init__(self, changed: Callable[[Override], None]) -> None:
        self._changed = changed
        self._layers: dict[Any, list[Override]] = {}
        self._numbers = itertools.count(1)

    def push(self, registration: Registration) -> Override:
        """Put a replacement on top."""
        layer = Override(next(self._numbers), registration, self._remove)
        self._layers.setdefault(registration.service, []).append(layer)
        self._changed(layer)
        return layer

    def top(self, service: Any) -> Override | None:
        """Return the replacement in force, if any."""
        layers = self._layers.get(service)
        return layers[-1] if layers else None

    def pop(self, service: Any) -> bool:
        """Take back the newest replacement; tell whether there was one."""
        layer = self.top(service)
        if layer is not None:
            layer.restore()
        return layer is not None

    def clear(self, service: Any) -> None:
        """Take back all replacements of a service."""
        while self.pop(service):
            continue

    def _remove(self, layer: Override) -> None:
        layers = self._layers.get(layer.service, [])
        if layer in layers:
            layers.remove(layer)
            if not layers:
                del self._layers[layer.service]
            self._changed(layer)
