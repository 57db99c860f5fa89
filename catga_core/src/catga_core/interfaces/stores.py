"""The stores that one storage provides, by port."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary, ref

from catga_core.errors import ConfigurationError
from catga_core.interfaces.port import declared_ports, port_of
from catga_core.interfaces.service_type import ServiceType
from catga_core.interfaces.storage import Storage

S = TypeVar("S")


class Stores:
    """The stores of one storage, found by their ports.

    ```python
    stores = Stores(storage, {OutboxStore: SqliteOutboxStore(storage)})
    stores[OutboxStore]  # the store; ConfigurationError where the storage has none
    stores.get(InboxStore)  # None where the storage has none
    ```

    Args:
        storage: Where they keep their data.
        stores: Each store by its port; a port whose store is `None` is left out.

    Raises:
        ConfigurationError: A key is not a port that a storage keeps.
    """

    __slots__ = ("__weakref__", "_stores", "storage")

    def __init__(self, storage: Storage, stores: Mapping[Any, object] | None = None) -> None:
        self.storage: Storage = storage
        self._stores: dict[Any, object] = {
            port: store for port, store in (stores or {}).items() if store is not None
        }
        check_kept(self._stores)
        for store in self._stores.values():
            # An object without weak references is found by its port only.
            with contextlib.suppress(TypeError):
                _stores_of[store] = ref(self)

    @property
    def ports(self) -> tuple[Any, ...]:
        """The ports of which there is a store."""
        return tuple(self._stores)

    def get(self, port: ServiceType[S]) -> S | None:
        """Return the store of a port, `None` where the storage has none.

        Args:
            port: The port, such as `OutboxStore`.
        """
        return cast("S | None", self._stores.get(port))

    def __getitem__(self, port: ServiceType[S]) -> S:
        found = self.get(port)
        if found is None:
            msg = f"the storage has no {_shown(port)}; it has {_listed(self._stores)}. Use another storage for it."
            raise ConfigurationError(msg)
        return found

    def __contains__(self, port: object) -> bool:
        return port in self._stores

    def __repr__(self) -> str:
        return f"Stores({self.storage!r}, {_listed(self._stores)})"

    def with_stores(self, stores: Mapping[Any, object | None]) -> Stores:
        """Return the same stores with some of them replaced or, by `None`, left out.

        Args:
            stores: The replacements by port.
        """
        return Stores(self.storage, {**self._stores, **stores})


# Weak on both sides: a store may refer to its `Stores`, and must not be kept alive by having been found.
_stores_of: WeakKeyDictionary[object, ref[Stores]] = WeakKeyDictionary()


def stores_of(store: object) -> Stores | None:
    """Return the stores of the storage that keeps a store.

    Tools that are given one store find another one of the same storage by it.

    Args:
        store: A store, such as `app.checkpoints`.

    Returns:
        The stores, `None` where they are not known or no longer there.
    """
    try:
        found = _stores_of.get(store)
    except TypeError:
        # It cannot be referred to weakly, and so was not noted.
        return None
    return None if found is None else found()


def check_kept(ports: Mapping[Any, object] | tuple[Any, ...]) -> None:
    """Refuse types that are not ports a storage keeps.

    Args:
        ports: The types.

    Raises:
        ConfigurationError: One of them is not a port that a storage keeps.
    """
    unknown = [each for each in ports if (known := port_of(each)) is None or not known.kept]
    if unknown:
        verb = "is not a port" if len(unknown) == 1 else "are not ports"
        msg = (
            f"{_listed(unknown)} {verb} that a storage keeps; such ports are "
            f"{_listed(each.type for each in declared_ports(kept=True))}. Declare the Protocol with @port(..., kept=True)."
        )
        raise ConfigurationError(msg)


def _listed(ports: Any) -> str:
    return ", ".join(map(_shown, ports)) or "no store"


def _shown(port: Any) -> str:
    return str(getattr(port, "__name__", port))
