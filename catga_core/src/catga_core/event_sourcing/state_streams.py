"""`StateStreams`: loads states out of streams and stores what is new; aggregates and deciders share it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

from catga_core.errors import ConcurrencyError, StreamNotFoundError
from catga_core.event_sourcing.folds import Fold
from catga_core.event_sourcing.progress import Progress
from catga_core.event_sourcing.snapshots import Restored, Snapshots, StateSnapshots
from catga_core.interfaces.event_store import EventData, EventStore, StoredEvent
from catga_core.messages import Event

S = TypeVar("S")


class StateStreams(Generic[S]):
    """The streams of one kind of state.

    Parameters:
        fold: how the state is made of events; their classes are registered with the store.
        store: where the events are.
        snapshots: where states are kept, and how often; `None` for nowhere.

    Raises:
        ConfigurationError: when the state cannot be kept in snapshots, or an event class cannot be registered.
    """

    def __init__(self, fold: Fold[S], store: EventStore, snapshots: Snapshots | None) -> None:
        store.register(*fold.events)
        self.fold: Fold[S] = fold
        self.store: EventStore = store
        self.snapshots: StateSnapshots[S] | None = (
            None if snapshots is None else StateSnapshots(fold, snapshots)
        )

    def stream_id(self, id: str) -> str:
        """Return the name of a state's stream.

        Raises:
            ValueError: for an id that is none.
        """
        given: object = id
        if not (isinstance(given, str) and given):
            msg = f"{given!r} cannot be the id of {self.fold.name}: give a text that is not empty"
            raise ValueError(msg)
        return f"{self.fold.category}-{id}"

    def not_found(self, id: str, why: str | None = None) -> StreamNotFoundError:
        """Return the error for a state that is not there."""
        stream_id = self.stream_id(id)
        return StreamNotFoundError(
            stream_id, f"{self.fold.name} {id!r}", why or f"the stream {stream_id!r} has no events"
        )

    async def load(self, id: str, *, version: int | None = None) -> tuple[S, Progress]:
        """Return a state and how far it is: of the newest snapshot and the events after it, or of all events.

        Parameters:
            id: which one; without events it is the initial state, at version 0.
            version: the highest version wanted, `None` for the newest.
        """
        stream_id = self.stream_id(id)
        if version == 0:
            return self.fold.initial(id), Progress()
        if self.snapshots is not None:
            restored = await self.snapshots.newest(id, stream_id, version)
            if restored is not None and await self._complete(self.snapshots, stream_id, restored, version):
                return restored.state, restored.progress
        return await self.replay(id, self.store.read(stream_id, to_version=version))

    async def replay(self, id: str, events: AsyncGenerator[StoredEvent]) -> tuple[S, Progress]:
        """Return the state that events make from the beginning, and how far it is."""
        progress = Progress()
        async with aclosing(events):
            state = await self._fold_in(self.fold.initial(id), progress, events)
        return state, progress

    async def save(self, id: str, state: S, progress: Progress) -> None:
        """Append the pending events, all or nothing, and take a snapshot if one is due.

        Called again after an error, with the same pending events, it never stores them twice.

        Raises:
            ConcurrencyError: when another has appended since; nothing was written.
            CatgaError: as `EventStore.append`.
        """
        if not progress.pending:
            return
        stream_id = self.stream_id(id)
        # What is raised while this waits is the next save's.
        wanted = progress.version + len(progress.pending)
        while progress.version < wanted:
            await self._append(stream_id, progress)
        # A state that has gone on meanwhile is none of a stored version.
        if self.snapshots is not None and not progress.pending:
            await self.snapshots.consider(stream_id, state, progress)

    # --- inside ---

    async def _append(self, stream_id: str, progress: Progress) -> None:
        """Append what is pending, or find what of it an earlier call has appended without knowing it."""
        pending, expected, asked_before = tuple(progress.pending), progress.version, progress.asked
        progress.asked = True
        try:
            version = (await self.store.append(stream_id, pending, expected_version=expected)).version
        except ConcurrencyError:
            # The log knows events again at the end of a stream. Others may have gone on since.
            version = (
                expected + await self._stored(stream_id, pending, expected) if asked_before else expected
            )
            if version == expected:
                progress.asked = False
                raise
        progress.asked = False
        if progress.version == expected:
            # Else the same events were saved twice at once, and the other call has noted it.
            stored = pending[: version - expected]
            del progress.pending[: len(stored)]
            progress.version, progress.last_id = version, stored[-1].message_id

    async def _stored(self, stream_id: str, pending: tuple[EventData, ...], expected: int) -> int:
        """Tell how many of the pending events come right after a version, the first of them first."""
        ids = iter(pending)
        count = 0
        stream = self.store.read(stream_id, from_version=expected + 1, limit=len(pending))
        async with aclosing(stream):
            async for stored in stream:
                if stored.message_id != next(ids).message_id:
                    break
                count += 1
        return count

    async def _complete(
        self, snapshots: StateSnapshots[S], stream_id: str, restored: Restored[S], version: int | None
    ) -> bool:
        """Add the events after a snapshot; `False` when it is none of this stream's past."""
        progress = restored.progress
        # With its last event, which must still be there: else the snapshot was taken of what was rolled back.
        events = self.store.read(stream_id, from_version=progress.version, to_version=version)
        async with aclosing(events):
            last = await anext(events, None)
            if last is None or last.message_id != progress.last_id:
                snapshots.ignore(
                    stream_id, progress.version, "its last event is not in the stream at that version"
                )
                return False
            snapshots.counts.used += 1
            restored.state = await self._fold_in(restored.state, progress, events)
        return True

    async def _fold_in(self, state: S, progress: Progress, events: AsyncGenerator[StoredEvent]) -> S:
        evolve = self.fold.evolve
        stored: StoredEvent | None = None
        async for stored in events:
            event: Event = stored.event
            try:
                state = evolve(state, event)
            except Exception as error:
                error.add_note(
                    f"while {stored.name} was applied, version {stored.version} of {stored.stream_id!r}"
                )
                raise
            if progress.since is None:
                progress.since = stored.recorded.record.recorded_at
        if stored is not None:
            progress.version, progress.last_id = stored.version, stored.message_id
        return state
