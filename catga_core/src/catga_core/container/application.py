"""The running application, as the code around it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from catga_core.clock import Clock
from catga_core.interfaces.health import Health
from catga_core.interfaces.serializer import Serializer
from catga_core.interfaces.transport import Transport
from catga_core.mediator import CatgaMediator

if TYPE_CHECKING:
    from catga_core.container.container import CatgaContainer, ServiceType

S = TypeVar("S")


class CatgaApp:
    """A container that runs: its ports by name, its services by type, its health.

    Parameters:
        container: the container; `app.container` gives it back.
    """

    __slots__ = ("container",)

    def __init__(self, container: CatgaContainer) -> None:
        self.container = container

    @property
    def mediator(self) -> CatgaMediator:
        """Sends requests, publishes events, gives streams."""
        return self.container.get(CatgaMediator)

    @property
    def transport(self) -> Transport:
        """The way to other processes.

        Raises:
            ConfigurationError: when there is none.
        """
        found: Transport = self.container.get(Transport)  # type: ignore[type-abstract, unused-ignore]
        return found

    @property
    def serializer(self) -> Serializer:
        """Turns messages into bytes."""
        found: Serializer = self.container.get(Serializer)  # type: ignore[type-abstract, unused-ignore]
        return found

    @property
    def clock(self) -> Clock:
        """The container's time."""
        found: Clock = self.container.get(Clock)  # type: ignore[type-abstract, unused-ignore]
        return found

    def get(self, service: ServiceType[S] | type[Any]) -> S:
        """Return a service by its type, as `CatgaContainer.get` does."""
        return self.container.get(service)

    def health(self) -> Mapping[str, Health]:
        """Return each part's state as it is now, by name."""
        return self.container.health()

    def __getattr__(self, name: str) -> Any:
        provider = self.container.providers.get(name)
        if provider is None:
            names = ", ".join(sorted(self.container.providers))
            msg = f"the application has no {name!r}: it has {names}"
            raise AttributeError(msg)
        return provider()
