"""`Host`: a container, as the parts of Catga that register services in it see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from catga_core.interfaces.service_type import ServiceType
from catga_core.pipeline import Call

S = TypeVar("S")
T = TypeVar("T")


class Host(Protocol):
    """What `CatgaContainer` offers to `add_*` functions; it is the argument to give them."""

    @property
    def providers(self) -> Mapping[str, Any]:
        """The dependency-injector providers, by name."""
        ...

    def registered(self, service: Any) -> Any:
        """Return how a service is made where no override lasts, `None` where nothing provides it."""
        ...

    # Any: a service's type and what implements it are checked by the container; this port only passes them on.
    def add_singleton(
        self, service: Any, implementation: Any = None, *, name: str | None = None, instance: bool = False
    ) -> None:
        """Register a service that is created once, when the container starts."""
        ...

    def add_hosted(
        self,
        service: Any,
        implementation: Any = None,
        *,
        name: str | None = None,
        after: Sequence[Any] = (),
        role: Literal["serve", "work", "admin"] | None = None,
    ) -> None:
        """Register a singleton with `start()` and `stop()` that runs as long as the container."""
        ...

    def add_class_consumer(self, key: str, name: str, cls: type[Any], adapt: Callable[[Any], Call]) -> None:
        """Register a consumer's handler that is a class."""
        ...

    def add_function_consumer(
        self,
        key: str,
        name: str,
        function: Callable[..., Any],
        call: Callable[..., Any],
        needs: Mapping[str, Any],
    ) -> None:
        """Register a consumer's handler that is a function."""
        ...

    async def use_in_scope(self, service: ServiceType[S], use: Callable[[S], Awaitable[T]]) -> T:
        """Call `use` with a service outside of any message, in a scope that is closed afterwards."""
        ...

    def check_one_storage(self, named: str, ports: Sequence[Any]) -> None:
        """Check that ports are kept in one storage, because they are written in one unit of work.

        Raises:
            ConfigurationError: Naming two storages.
        """
        ...
