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
    from catga_core.container.container import CatgaContainer
    from catga_core.container.services import ServiceType

S = TypeVar("S")


class CatgaApp:
    """A container that runs: its ports by name, its services by type, its health.

    Parameters:
        container: the container; `app.container` gives it back.
    """

    __slots__ = ("container",)

    def __init__(self, container: CatgaContainer) -> None:
        self.container: CatgaContainer = container

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
        return self.container.get(Transport)

    @property
    def serializer(self) -> Serializer:
        """Turns messages into bytes."""
        return self.container.get(Serializer)

    @property
    def clock(self) -> Clock:
        """The container's time."""
        return self.container.get(Clock)

    def get(self, service: ServiceType[S]) -> S:
        """Return a service by its type, as `CatgaContainer.get` does."""
        return self.container.get(service)

    def health(self) -> Mapping[str, Health]:
        """Return each part's state as it is now, by name."""
        return self.container.health()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "container":
            # Not ours: copying and pickling ask for such names before there is a container.
            raise AttributeError(name)
        provider = self.container.providers.get(name)
        if provider is None:
            names = ", ".join(sorted(self.container.providers))
            msg = f"the application has no {name!r}: it has {names}"
            raise AttributeError(msg)
        return provider()
