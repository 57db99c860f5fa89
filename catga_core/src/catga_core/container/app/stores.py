"""How a storage and its stores get into a container, and what is used without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catga_core.clock import Clock
from catga_core.container.di.registration import Lifetime, Parameter, Registration, SourceKind
from catga_core.container.di.sources import register_source
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import caller_place, shown
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.port import port_of
from catga_core.interfaces.storage import Storage
from catga_core.interfaces.stores import Stores

if TYPE_CHECKING:
    from catga_core.container.di.resolver import Resolver


class StorageHost:
    """Starts and stops one storage with the container, as long as one of its stores is in use.

    Args:
        stores: What the storage brings.
        wanted: Tells whether any of it is still what the container uses.
    """

    def __init__(self, stores: Stores, wanted: Callable[[], bool]) -> None:
        self.stores: Stores = stores
        self._wanted = wanted
        self._started = False
        self._unused = False

    async def start(self) -> None:
        """Open the storage; one that others have replaced in every port stays closed."""
        self._unused = not self._wanted()
        if not self._unused:
            self._started = True
            await self.stores.storage.start()

    async def stop(self) -> None:
        """Close the storage."""
        if self._started:
            self._started = False
            await self.stores.storage.stop()

    def health(self) -> Health:
        """Return the storage's state; one that stays closed is healthy."""
        if self._unused:
            return Health(HealthStatus.HEALTHY, "not used: another storage provides its ports")
        return self.stores.storage.health()


def default_of(service: Any) -> Registration | None:
    """Return how an unregistered port or service of Catga is created, `None` for any other.

    State is then kept in this process's memory. What is not asked for is not imported.

    Args:
        service: The type it is asked for by.
    """
    declared = port_of(service)
    if service is Storage or (declared is not None and declared.kept and _is_kept_in_memory(service)):
        return from_host(_MemoryHost, service, "memory")
    if service is _MemoryHost:
        return _by_factory(_MemoryHost, _memory_host, {"clock": Clock})
    default: Any = getattr(service, "__dict__", {}).get("__catga_default__")
    if not default:
        return None
    # A class of Catga's own that says so is made once, of what its constructor asks for.
    return register_source(service, None, Lifetime.SINGLETON, {})


def same_storage(resolver: Resolver, first: Any, second: Any) -> bool | None:
    """Tell whether two ports are kept in one storage; `None` where that is not known: one was not put in by `add_stores`.

    Args:
        resolver: The container's.
        first: A port.
        second: Another one.
    """
    hosts = [_host_of(resolver.effective(port)) for port in (first, second)]
    return None if None in hosts else hosts[0] is hosts[1]


def told_storage(resolver: Resolver, port: Any) -> str:
    """Return the name of the storage that keeps a port, for errors."""
    host = _host_of(resolver.effective(port))
    return "a store of the application's own" if host is None else shown(host).strip("_")


def _host_of(registration: Registration | None) -> Any:
    if registration is None or len(registration.parameters) != 1:
        return None
    service = registration.parameters[0].service
    return service if isinstance(service, type) and issubclass(service, StorageHost) else None


def is_in_memory(registration: Registration | None) -> bool:
    """Return whether a port is kept in memory by default."""
    return registration is not None and any(
        parameter.service is _MemoryHost for parameter in registration.parameters
    )


class _MemoryHost(StorageHost):
    """The storage that is there by default."""


def _is_kept_in_memory(port: Any) -> bool:
    from catga_core.memory.stores import MEMORY_PORTS

    return port in MEMORY_PORTS


def _memory_host(clock: Clock) -> _MemoryHost:
    from catga_core.memory.stores import MemoryStorage, memory_stores

    storage = MemoryStorage()
    # It is created while the container starts and is not started itself.
    storage.belong_to_running_loop()
    return _MemoryHost(memory_stores(clock, storage), lambda: True)


def from_host(host: type[StorageHost], port: Any, name: str) -> Registration:
    """Return how a port is taken from a storage.

    Args:
        host: The hosted storage.
        port: The port, or `Storage` itself.
        name: The storage's name, for errors.
    """

    def store(host: StorageHost) -> Any:
        if port is Storage:
            return host.stores.storage
        found = host.stores.get(port)
        if found is None:
            msg = f"the storage {name!r} has no {shown(port)}. Register {shown(port)} from another storage."
            raise ConfigurationError(msg)
        return found

    return _by_factory(port, store, {"host": host})


def _by_factory(service: Any, factory: Callable[..., Any], needs: Mapping[str, Any]) -> Registration:
    parameters = tuple(Parameter(name, needed, optional=False) for name, needed in needs.items())
    return Registration(
        service, Lifetime.SINGLETON, SourceKind.FACTORY, factory, parameters, registered_at=caller_place()
    )


def check_one_storage(resolver: Resolver, named: str, ports: Sequence[Any]) -> None:
    """Check that ports are kept in one storage.

    Args:
        resolver: The container's.
        named: What relies on that, for the error.
        ports: The ports.

    Raises:
        ConfigurationError: Naming two storages.
    """
    kept = {port: _host_of(resolver.registered_for(port)) for port in ports}
    known = {port: host for port, host in kept.items() if host is not None}
    for other, host in known.items():
        first = next(iter(known))
        if host is not known[first]:
            msg = (
                f"{named} needs {shown(first)} and {shown(other)} in one storage; {shown(first)} is kept in "
                f"{shown(known[first]).strip('_')} and {shown(other)} in {shown(host).strip('_')}. Configure one storage for "
                "both"
            )
            if Storage in known:
                msg += ", or deliver at least once"
            raise ConfigurationError(f"{msg}.")
