"""The feature `retention`: removes the records that other features no longer need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from catga_core.clock import Clock
from catga_core.feature import Builder, FeatureHost, Graph, Problem
from catga_core.features.retention.options import RetentionOptions
from catga_core.features.retention.pruning import Prune, Pruning
from catga_core.interfaces.health import Health


def add_retention(container: FeatureHost, options: RetentionOptions | None = None) -> None:
    """Configure how often records whose retention has passed are removed.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(RetentionFeature(options))


class RetentionFeature:
    """Prunes the stores of other features in one worker.

    Args:
        options: `None` for the defaults.
    """

    name = "retention"

    def __init__(self, options: RetentionOptions | None = None) -> None:
        self._options = options or RetentionOptions()
        self._stores: dict[str, tuple[Any, Callable[[Any], Prune]]] = {}
        self._builder: Builder | None = None

    def prune(self, name: str, port: Any, prune: Callable[[Any], Prune]) -> None:
        """Have a store pruned.

        Args:
            name: What the store is called in `health()`.
            port: Its port.
            prune: Returns what prunes the store that it is given.
        """
        self._stores[name] = (port, prune)
        if self._builder is not None:
            self._add_worker(self._builder)

    def register(self, builder: Builder, /) -> None:
        """Add the worker, where a store is to be pruned."""
        self._builder = builder
        self._stores.clear()

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Find nothing wrong."""
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        """Report nothing: the worker reports."""
        return {}

    def _add_worker(self, builder: Builder) -> None:
        services, stores = builder.services, dict(self._stores)

        def now(port: Any, prune: Callable[[Any], Prune]) -> Prune:
            # Asked for in each round: a store that stands in for it may be there by then.
            return lambda: prune(services.get(port))()  # noqa: PLW0108 - the store of that moment

        def make(clock: Clock, **_stores: object) -> Pruning:
            prunes = {name: now(port, prune) for name, (port, prune) in stores.items()}
            return Pruning(prunes, clock, self._options.interval_seconds)

        needs = {"clock": Clock, **{name: port for name, (port, _) in stores.items()}}
        builder.add_worker(Pruning, make, needs, name="pruning")
