"""The port of everything that has to be started and stopped."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from catga_core.interfaces.health import Health


@runtime_checkable
class HostedService(Protocol):
    """Something that runs beside the handlers: a connection, a worker, a listener.

    Services are started in dependency order and stopped in reverse, each within the container's time limits.
    """

    async def start(self) -> None:
        """Return when the service works; raise when it cannot."""
        ...

    async def stop(self) -> None:
        """Take no new work, finish what runs, release everything."""
        ...


@runtime_checkable
class HealthReporter(Protocol):
    """A service that can tell its state; `catga.health()` asks each one."""

    def health(self) -> Health:
        """Return the state as it is now, without waiting."""
        ...
