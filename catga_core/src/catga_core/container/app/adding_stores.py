"""`add_stores`: registers the stores of a storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from catga_core.clock import Clock
from catga_core.container.app.container import CatgaContainer
from catga_core.container.app.stores import StorageHost, from_host
from catga_core.container.di.registration import Registration
from catga_core.interfaces.port import port_of
from catga_core.interfaces.storage import Storage
from catga_core.interfaces.stores import Stores, check_kept


def add_stores(
    container: CatgaContainer,
    make: Callable[[Clock], Stores],
    ports: Sequence[Any],
    *,
    name: str,
) -> None:
    """Register the stores of one storage; for each port the last call wins.

    The storage is started before everything that uses it and stopped after. It becomes the storage of
    `container.unit_of_work()` when it provides a transactional port: the event log, the outbox, the inbox or the checkpoints.

    Args:
        container: The container.
        make: Makes the stores, given the container's clock; called once for each run, when the container starts.
        ports: The ports to take from it, such as `EventLog`; each is declared with `@port(..., kept=True)`.
        name: What the storage is called in `health()` and in errors, such as `sqlite`.

    Raises:
        ConfigurationError: One of `ports` is not a port that a storage keeps, or the container runs already.
    """
    check_kept(tuple(ports))
    taken: dict[Any, Registration] = {}

    def wanted() -> bool:
        return any(container.registered(port) is made for port, made in taken.items())

    # A class of its own: a container may have several storages, each hosted as a service.
    service: Any = type(f"{name.title()}Storage", (StorageHost,), {})

    def host(clock: Clock) -> Any:
        return service(make(clock), wanted)

    container.add_hosted(service, host, name=_free(f"{name}_storage", container))
    for port in ports:
        taken[port] = from_host(service, port, name)
    if any((declared := port_of(port)) and declared.transactional for port in ports):
        taken[Storage] = from_host(service, Storage, name)
    for registration in taken.values():
        container.register(registration)


def _free(name: str, container: CatgaContainer) -> str:
    number = 1
    chosen = name
    while chosen in container.providers:
        number += 1
        chosen = f"{name}_{number}"
    return chosen
