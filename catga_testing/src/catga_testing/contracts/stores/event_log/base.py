"""The fixtures of the event log's kit, and what its tests read with."""

from __future__ import annotations

import pytest

from catga_core.interfaces import EventLog, RecordedEvent, Stores
from catga_testing.contracts.stores.base import StoresContractBase, both


class EventLogContractBase(StoresContractBase):
    """The event log of one test."""

    @pytest.fixture
    def log(self, stores: Stores) -> EventLog:
        """Return the event log."""
        return stores[EventLog]

    @pytest.fixture
    def logs(self, pair: tuple[Stores, Stores]) -> tuple[EventLog, EventLog]:
        """Return the event logs of one process or of two."""
        return both(pair, EventLog)


async def stream(
    log: EventLog,
    stream_id: str,
    *,
    from_version: int = 1,
    to_version: int | None = None,
    limit: int = 10_000,
    backward: bool = False,
) -> list[RecordedEvent]:
    """Return a stream's events."""
    return await log.read_stream(
        stream_id, from_version=from_version, to_version=to_version, limit=limit, backward=backward
    )


async def ids(log: EventLog, stream_id: str) -> list[str]:
    """Return the message ids of a stream, in its order."""
    return [each.record.message_id for each in await stream(log, stream_id)]


async def everything(log: EventLog, *, after: int = 0, page: int = 1000) -> list[RecordedEvent]:
    """Return the events of all streams after a position, read a page at a time."""
    found: list[RecordedEvent] = []
    while True:
        events = await log.read_all(after=after, limit=page)
        found += events
        if len(events) < page:
            return found
        after = events[-1].position
