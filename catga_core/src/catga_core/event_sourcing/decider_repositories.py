"""`DeciderRepository`: loads states, and stores what follows from commands."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import ClassVar, Generic, TypeVar

import msgspec

from catga_core.event_sourcing.deciders import Decider, fold_of
from catga_core.event_sourcing.progress import Progress
from catga_core.event_sourcing.retrying import ATTEMPTS, saved_with_retries
from catga_core.event_sourcing.snapshots import SnapshotCounts, Snapshots
from catga_core.event_sourcing.state_streams import StateStreams
from catga_core.event_sourcing.time_travel import Difference, Moment, difference, state_at
from catga_core.identifiers import new_id
from catga_core.interfaces.event_store import EventData, EventStore, StoredEvent
from catga_core.messages import Event

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Event)


class Decided(msgspec.Struct, Generic[S, E], frozen=True):
    """What a command has led to.

    Parameters:
        state: the state with its events.
        events: what has happened, none for nothing.
        version: the stream's version.
    """

    state: S
    events: tuple[E, ...]
    version: int


class _Undone(msgspec.Struct, Generic[S, E], eq=False):
    """What was decided and is still to be stored."""

    state: S
    progress: Progress
    events: tuple[E, ...]


class DeciderRepository(Generic[C, S, E]):
    """The streams of one decider, each called `category-id`.

    Parameters:
        decider: its functions; the events that `evolve` takes are registered with the store.
        store: where the events are.
        snapshots: where states are kept, and how often; `None` to replay all events each time.

    Raises:
        ConfigurationError: when the state cannot be kept in snapshots.
    """

    __catga_registered_by__: ClassVar[str] = (
        "register it with add_decider(catga, ...), for DeciderRepository[{}]"
    )

    def __init__(
        self, decider: Decider[C, S, E], store: EventStore, *, snapshots: Snapshots | None = None
    ) -> None:
        self._decider = decider
        self._streams: StateStreams[S] = StateStreams(fold_of(decider), store, snapshots)

    @property
    def snapshot_counts(self) -> SnapshotCounts:
        """What became of its snapshots."""
        snapshots = self._streams.snapshots
        return SnapshotCounts() if snapshots is None else snapshots.counts

    def stream_id(self, id: str) -> str:
        """Return the name of a state's stream.

        Raises:
            ValueError: for an id that is none.
        """
        return self._streams.stream_id(id)

    async def load(self, id: str) -> S:
        """Return a state as it is now.

        Parameters:
            id: which one.

        Raises:
            StreamNotFoundError: when it has no events.
            CatgaError: `SERIALIZATION_FAILED` when an event cannot be read, `INTERNAL_ERROR` when one is of no class
                that `evolve` takes.
        """
        state, progress = await self._streams.load(id)
        if not progress.version:
            raise self._streams.not_found(id)
        return state

    async def load_or_initial(self, id: str) -> S:
        """Return a state as it is now, the initial one where it has no events.

        Parameters:
            id: which one.

        Raises:
            CatgaError: as `load`.
        """
        return (await self._streams.load(id))[0]

    async def handle(self, id: str, command: C, *, attempts: int = ATTEMPTS) -> Decided[S, E]:
        """Decide what follows from a command, and store it; decide anew when another was quicker.

        Parameters:
            id: which state.
            command: what `decide` is given.
            attempts: how often at most, 1 or more.

        Raises:
            ConcurrencyError: when others were quicker every time.
            CatgaError: as `load` and `EventStore.append`. An outcome that the store cannot tell is asked for again with
                the same events; `PERSISTENCE_FAILED` with `details["outcome"] == "unknown"` means that it stayed unknown.
            Exception: what `decide` raises to refuse.
        """
        evolve = self._streams.fold.evolve

        async def decided() -> _Undone[S, E]:
            state, progress = await self._streams.load(id)
            events = tuple(self._decider.decide(command, state))
            for event in events:
                state = evolve(state, event)
                progress.pending.append(EventData(event, new_id()))
            return _Undone(state, progress, events)

        async def save(undone: _Undone[S, E]) -> None:
            await self._streams.save(id, undone.state, undone.progress)

        done = await saved_with_retries(self.stream_id(id), attempts, decided, save)
        return Decided(done.state, done.events, done.progress.version)

    # --- the past ---

    async def state_at(self, id: str, moment: Moment) -> S:
        """Return a state as it was.

        Parameters:
            id: which one.
            moment: a version (0 for the initial one), or an aware datetime: everything up to the first event that was
                recorded later.

        Raises:
            StreamNotFoundError: for a version that is not there.
            ValueError: for a version below 0, or a naive datetime.
        """
        return (await state_at(self._streams, id, moment))[0]

    def history(self, id: str, *, backward: bool = False) -> AsyncGenerator[StoredEvent]:
        """Give everything that has happened, with when, where and why.

        Parameters:
            id: which state; without events it gives nothing.
            backward: begin with the newest.
        """
        return self._streams.store.read(self.stream_id(id), backward=backward)

    async def diff(self, id: str, from_: Moment, to: Moment) -> Difference[S]:
        """Return which fields have changed between two moments, and the events between.

        Parameters:
            id: which state.
            from_: the earlier moment, as in `state_at`.
            to: the later one.

        Raises:
            StreamNotFoundError: for a version that is not there.
            ValueError: when `from_` is after `to`, for a version below 0, or a naive datetime.
        """
        return await difference(self._streams, id, from_, to)
