"""Events of unknown names that a consumer passes over: logged once per name and version, counted, shown in health."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from catga_core.event_sourcing.event_types import EventTypes
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.log import EVENT_UNKNOWN, logger


class UnknownEvents:
    """What one consumer passed over because no class of this process has its name and version.

    Args:
        types: The message registry's view for events.
        consumer: The consumer's kind and name, for the log: `{"projection": "totals"}`.
        ignored: Wire names that are foreign to this program, or `True` for all.
    """

    __slots__ = ("_consumer", "_counts", "_ignored", "_types")

    def __init__(
        self, types: EventTypes, consumer: Mapping[str, str], ignored: bool | Collection[str]
    ) -> None:
        self._types = types
        self._consumer = consumer
        self._ignored = ignored
        self._counts: dict[tuple[str, int], int] = {}

    def note(self, recorded: RecordedEvent) -> None:
        """Note that an event of an unknown name was passed over.

        Args:
            recorded: The event.
        """
        record = recorded.record
        if self.is_foreign(record.name):
            return
        shape = (record.name, record.schema_version)
        count = self._counts[shape] = self._counts.get(shape, 0) + 1
        if count == 1:
            logger().warning(
                EVENT_UNKNOWN,
                **self._consumer,
                name=record.name,
                schema_version=record.schema_version,
                stream_id=recorded.stream_id,
                position=recorded.position,
            )

    def counts(self) -> dict[str, int]:
        """Return how many events were passed over, by `name v1`, without names that are known by now."""
        return {
            f"{name} v{version}": count
            for (name, version), count in self._counts.items()
            if not self._types.newest(name, version)[1]
        }

    def is_foreign(self, name: str) -> bool:
        """Return whether events of an unknown name are foreign to this program, so that they are passed over silently.

        Args:
            name: The wire name.
        """
        if isinstance(self._ignored, bool):
            return self._ignored or self._types.registry.closed
        return name in self._ignored or self._types.registry.closed
