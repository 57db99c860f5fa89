"""The feature `loop_monitor`: a warning for each handler that blocks the event loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catga_core.feature import Builder, FeatureHost, Graph, Problem
from catga_core.features.loop_monitor.code_names import CodeNames
from catga_core.features.loop_monitor.monitor import LoopMonitor
from catga_core.features.loop_monitor.options import LoopMonitorOptions
from catga_core.handlers import HandlerDefinition
from catga_core.interfaces.health import Health
from catga_core.pipeline.behavior import AnyBehavior


def add_loop_monitor(container: FeatureHost, options: LoopMonitorOptions | None = None) -> None:
    """Configure when a handler that blocks the event loop is logged.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    container.add_feature(LoopMonitorFeature(options))


class LoopMonitorFeature:
    """Watches the event loop from a thread, and names the handler that blocks it.

    Args:
        options: `None` for the defaults.
    """

    name = "loop_monitor"

    def __init__(self, options: LoopMonitorOptions | None = None) -> None:
        self._options = options or LoopMonitorOptions()
        self._names = CodeNames()

    def register(self, builder: Builder, /) -> None:
        """Add the monitor, and learn which handlers there are."""
        warning_seconds = self._options.warning_seconds
        if warning_seconds is None:
            return
        builder.on_handler(self._learn)
        builder.add_stage(self._learn_when_compiled)

        def make() -> LoopMonitor:
            return LoopMonitor(self._names, warning_seconds, self._options.repeat_seconds)

        builder.add_worker(LoopMonitor, make, name="loop_monitor", role=None)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Find nothing wrong."""
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        """Report nothing."""
        return {}

    def _learn(self, handler: HandlerDefinition) -> None:
        self._names.add(handler.target, handler.name)

    def _learn_when_compiled(self, handler: HandlerDefinition) -> Iterable[AnyBehavior]:
        # The handlers of consumers are known by their pipelines; no stage is added to them.
        self._learn(handler)
        return ()
