"""The dependency-injector face of one service."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dependency_injector.providers import Provider

from catga_core.container.di.gives_service import GivesService
from catga_core.container.di.overrides import Override
from catga_core.container.di.resolver import Resolver

T = TypeVar("T")


class ServiceProvider(Provider[T], GivesService):
    """A dependency-injector provider that gives a Catga service and overrides it in every place that holds it.

    It works with `Provide[...]`, `@inject` and `container.override_providers(...)`; unlike dependency-injector's own
    override, this one reaches objects that were built before it, and may be left in any order.
    """

    def __init__(self, service: Any, resolver: Resolver, replace: Callable[[Any, Any], Override]) -> None:
        self._service = service
        self._resolver = resolver
        self._replace = replace
        super().__init__()

    @property
    def service(self) -> Any:
        """The type it is asked for by; one that was given as `module:name` is imported when it is first needed."""
        if isinstance(self._service, str):
            module, _, name = self._service.partition(":")
            self._service = getattr(importlib.import_module(module), name)
        return self._service

    def is_for(self, service: Any) -> bool:
        """Return whether it gives a service, without importing one that was not needed yet."""
        named = self._service
        if isinstance(named, str) and named.partition(":")[0] not in sys.modules:
            return False
        return bool(self.service == service)

    def __deepcopy__(self, memo: dict[Any, Any] | None = None) -> ServiceProvider[T]:
        # A copy would give other singletons than the container does.
        return self

    def _provide(self, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> T:
        return self._resolver.resolve(self.service)  # type: ignore[no-any-return]

    def override(self, provider: Any) -> Override:  # type: ignore[override]
        """Replace the service until the returned context manager is left.

        Args:
            provider: What stands in, as in `CatgaContainer.override`.
        """
        return self._replace(self.service, provider)

    def reset_last_overriding(self) -> None:
        """Take back the newest replacement."""
        self._resolver.overrides.pop(self.service)

    def reset_override(self) -> None:
        """Take back every replacement."""
        self._resolver.overrides.clear(self.service)

    @property
    def related(self) -> Iterator[Provider[Any]]:
        """Nothing: what a service needs is known to the container, not to dependency-injector."""
        yield from ()
