"""The feature `locks`: named locks that last as long as their holder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.feature import Builder, Graph, Problem
from catga_core.interfaces.health import Health


class LocksFeature:
    """Offers `Locks` under the provider name `locks`."""

    name = "locks"

    def register(self, builder: Builder, /) -> None:
        """Offer the service; it is created when it is first asked for."""
        builder.offer("locks", "catga_core.features.locks.locks:Locks")

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Find nothing wrong."""
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        """Report nothing: the storage reports."""
        return {}
