"""`StateStreams`: loads states out of streams and stores what is new; aggregates and deciders share it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Generic, TypeVar

from catga_core.errors import ConcurrencyError, StreamNotFoundError
from catga_core.event_sourcing.event_store import PAGE, check_stream_id
from catga_core.event_sourcing.folds import Fold
from catga_core.event_sourcing.progress import Progress
from catga_core.event_sourcing.snapshots import Restored, Snapshots, StateSnapshots
from catga_core.interfaces.event_log import EventKind, PayloadLog, RecordedEvent
from catga_core.interfaces.event_store import EventData, EventStore
from catga_core.messages import Event
from catga_core.runtime.unit_of_work import open_unit_of_work

S = TypeVar("S")


class StateStreams(Generic[S]):
    """The streams of one kind of state.

    Args:
        fold: How the state is made of events; their classes are registered with the store.
        store: Where the events are.
        snapshots: Where states are kept, and how often; `None` for nowhere.

    Raises:
        ConfigurationError: When the state cannot be kept in snapshots, or an event class cannot be registered.
    """

    def __init__(self, fold: Fold[S], store: EventStore, snapshots: Snapshots | None) -> None:
        store.register(*fold.events)
        self.fold: Fold[S] = fold
        self.store: EventStore = store
        self.snapshots: StateSnapshots[S] | None = (
            None if snapshots is None else StateSnapshots(fold, snapshots)
        )
        # A snapshot is known by the id of its last event, and bytes alone do not tell it.
        self._payloads: PayloadLog | None = (
            store.log if snapshots is None and isinstance(store.log, PayloadLog) else None
        )

    def stream_id(self, id: str) -> str:
        """Return the name of a state's stream.

        Raises:
            ValueError: For an id that is none.
        """
        given: object = id
        if not (isinstance(given, str) and given):
            msg = f"{given!r} cannot be the id of {self.fold.name}: give a text that is not empty"
            raise ValueError(msg)
        stream_id = f"{self.fold.category}-{id}"
        check_stream_id(stream_id)
        return stream_id

    def not_found(self, id: str, version: int | None = None, actual: int = 0) -> StreamNotFoundError:
        """Return the error for a state that is not there, or has not come to a version.

        Args:
            id: Which one.
            version: The one that was asked for, `None` for any.
            actual: The one that its stream is at.
        """
        stream_id = self.stream_id(id)
        what = f"{self.fold.name} {id!r}"
        if not actual:
            return StreamNotFoundError(stream_id, what, f"the stream {stream_id!r} has no events")
        why = f"its stream {stream_id!r} is at version {actual}"
        return StreamNotFoundError(stream_id, f"version {version} of {what}", why)

    async def load(self, id: str, *, version: int | None = None) -> tuple[S, Progress]:
        """Return a state and how far it is: of the newest snapshot and the events after it, or of all events.

        Args:
            id: Which one; without events it is the initial state, at version 0.
            version: The highest version wanted, `None` for the newest.
        """
        stream_id = self.stream_id(id)
        if version == 0:
            return self.fold.initial(id), Progress()
        if self.snapshots is not None:
            restored = await self.snapshots.newest(id, stream_id, version)
            if restored is not None and await self._complete(self.snapshots, stream_id, restored, version):
                return restored.state, restored.progress
        if self._payloads is not None:
            loaded = await self._load_payloads(self._payloads, id, stream_id, version)
            if loaded is not None:
                return loaded
        progress = Progress()
        state = self.fold.initial(id)
        async with aclosing(self._pages(stream_id, 1, version)) as pages:
            async for page in pages:
                state = self._fold_in(state, progress, page)
        return state, progress

    async def load_until(self, id: str, until: int) -> tuple[S, Progress]:
        """Return a state as it was at a time, and how far it is: with all events up to the first that is later.

        Args:
            id: Which one.
            until: Microseconds since the epoch.
        """
        progress = Progress()
        state = self.fold.initial(id)
        async with aclosing(self._pages(self.stream_id(id), 1, None)) as pages:
            async for page in pages:
                # By one process's clock after the other's, so the times need not rise.
                early = list(takewhile(lambda each: each.record.recorded_at <= until, page))
                state = self._fold_in(state, progress, early)
                if len(early) < len(page):
                    break
        return state, progress

    async def save(self, id: str, state: S, progress: Progress) -> None:
        """Append the pending events, all or nothing, and take a snapshot if one is due.

        Called again after an error, with the same pending events, it never stores them twice.

        Raises:
            ConcurrencyError: When another has appended since; nothing was written.
            CatgaError: As `EventStore.append`.
        """
        if not progress.pending:
            return
        stream_id = self.stream_id(id)
        snapshot_version, since = progress.snapshot_version, progress.since
        # What is raised while this waits is the next save's.
        wanted = progress.version + len(progress.pending)
        while progress.version < wanted:
            await self._append(stream_id, progress)
        # A state that has gone on meanwhile is none of a stored version.
        if self.snapshots is not None and not progress.pending:
            await self.snapshots.consider(stream_id, state, progress)
            if progress.snapshot_version != snapshot_version:
                _when_rolled_back(lambda: _forget_snapshot(progress, snapshot_version, since))

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
            stored, last_id = pending[: version - expected], progress.last_id
            del progress.pending[: len(stored)]
            progress.version, progress.last_id = version, stored[-1].message_id
            _when_rolled_back(lambda: _pending_again(progress, stored, expected, last_id))

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
        taken_at, last_id = progress.version, progress.last_id
        async with aclosing(self._pages(stream_id, taken_at, version)) as pages:
            # With its last event, which must still be there: else the snapshot was taken of what was rolled back.
            page = await anext(pages, list[RecordedEvent]())
            if not page or page[0].record.message_id != last_id:
                await snapshots.discard(stream_id, taken_at)
                return False
            snapshots.counts.used += 1
            state = self._fold_in(restored.state, progress, page[1:])
            async for following in pages:
                state = self._fold_in(state, progress, following)
        restored.state = state
        return True

    async def _load_payloads(
        self, log: PayloadLog, id: str, stream_id: str, version: int | None
    ) -> tuple[S, Progress] | None:
        """Return a state that is made of bytes alone, `None` when one of the events cannot be decoded or applied.

        Whole records are read then, to say which one it is.
        """
        evolve, decoder_for = self.fold.evolve, self.store.decoder.decoder_for
        last: EventKind | None = None
        decode: Callable[[bytes], Event]
        progress = Progress()
        state = self.fold.initial(id)
        while version is None or progress.version < version:
            page = await log.read_payloads(
                stream_id, from_version=progress.version + 1, to_version=version, limit=PAGE
            )
            try:
                for kind, data in page:
                    # A log gives the same object for the same kind, as a rule; else this is a look-up more.
                    if kind is not last:
                        decode, last = decoder_for(kind), kind
                    state = evolve(state, decode(data))  # pyright: ignore[reportPossiblyUnboundVariable] - no kind is None
            except Exception:  # noqa: BLE001, RUF100 - it is raised again, by name, when the records are read
                return None
            progress.version += len(page)
            if len(page) < PAGE:
                break
        return state, progress

    async def _pages(
        self, stream_id: str, lowest: int, highest: int | None
    ) -> AsyncGenerator[list[RecordedEvent]]:
        read = self.store.log.read_stream
        while highest is None or lowest <= highest:
            page = await read(stream_id, from_version=lowest, to_version=highest, limit=PAGE, backward=False)
            if page:
                yield page
            if len(page) < PAGE:
                return
            lowest = page[-1].version + 1

    def _fold_in(self, state: S, progress: Progress, page: Sequence[RecordedEvent]) -> S:
        # A page at a time and not an event at a time: half of what loading an aggregate costs beside the log.
        evolve, decode = self.fold.evolve, self.store.decoder.decode
        for recorded in page:
            event = decode(recorded.record)
            try:
                state = evolve(state, event)
            except Exception as error:
                place = f"version {recorded.version} of {recorded.stream_id!r}"
                error.add_note(f"while {recorded.record.name} was applied, {place}")
                raise
        if page:
            if progress.since is None:
                progress.since = page[0].record.recorded_at
            progress.version, progress.last_id = page[-1].version, page[-1].record.message_id
        return state


def _when_rolled_back(undo: Callable[[], None]) -> None:
    """Have something undone once, when a unit of work that it may be a part of is rolled back."""
    done = False

    async def undo_once(_error: BaseException) -> None:
        nonlocal done
        if not done:
            done = True
            undo()

    unit = open_unit_of_work()
    while unit is not None:
        # All of them: which one the log joins is the log's to know, and what it has stored all the same it recognises.
        if not unit.over:
            unit.after_rollback(undo_once)
        unit = unit.outer


def _pending_again(
    progress: Progress, stored: Sequence[EventData], expected: int, last_id: str | None
) -> None:
    if progress.version > expected:
        progress.version, progress.last_id = expected, last_id
    # Several saves of one block are undone in their order.
    place = expected - progress.version
    progress.pending[place:place] = stored
    # Where the outcome of the commit is not known, they may be there.
    progress.asked = True


def _forget_snapshot(progress: Progress, version: int, since: int | None) -> None:
    progress.snapshot_version, progress.since = version, since
