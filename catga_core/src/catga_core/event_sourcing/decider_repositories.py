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

    Args:
        state: The state with its events.
        events: What has happened, none for nothing.
        version: The stream's version.
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

    Args:
        decider: Its functions; the events that `evolve` takes are registered with the store.
        store: Where the events are.
        snapshots: Where states are kept, and how often; `None` to replay all events each time.

    Raises:
        ConfigurationError: When the state cannot be kept in snapshots.
    """

    __catga_registered_by__: ClassVar[str] = (
        "Register it with add_decider(catga, ...), for DeciderRepository[{}]"
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
            ValueError: For an id that is none.
        """
        return self._streams.stream_id(id)

    async def load(self, id: str) -> S:
        """Return a state as it is now.

        Args:
            id: Which one.

        Raises:
            StreamNotFoundError: When it has no events.
            CatgaError: `SERIALIZATION_FAILED` when an event cannot be read, `INTERNAL_ERROR` when one is of no class
                that `evolve` takes.
        """
        state, progress = await self._streams.load(id)
        if not progress.version:
            raise self._streams.not_found(id)
        return state

    async def load_or_initial(self, id: str) -> S:
        """Return a state as it is now, the initial one where it has no events.

        Args:
            id: Which one.

        Raises:
            CatgaError: As `load`.
        """
        return (await self._streams.load(id))[0]

    async def handle(self, id: str, command: C, *, attempts: int = ATTEMPTS) -> Decided[S, E]:
        """Decide what follows from a command, and store it; decide again when another caller was quicker.

        Args:
            id: Which state.
            command: What `decide` is given.
            attempts: How often at most, 1 or more.

        Raises:
            ConcurrencyError: When others were quicker every time.
            CatgaError: As `load` and `EventStore.append`. An outcome that the store cannot tell is asked for again with
                the same events; `PERSISTENCE_FAILED` with `details["outcome"] == "unknown"` means that it stayed unknown.
            Exception: What `decide` raises to refuse.
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

        Args:
            id: Which one.
            moment: A version (0 for the initial one), or an aware datetime: everything up to the first event that was
                recorded later.

        Raises:
            StreamNotFoundError: For a version that is not there.
            ValueError: For a version below 0, or a naive datetime.
        """
        return (await state_at(self._streams, id, moment))[0]

    def history(self, id: str, *, backward: bool = False) -> AsyncGenerator[StoredEvent]:
        """Give everything that has happened, with when, where and why.

        Args:
            id: Which state; without events it gives nothing.
            backward: Begin with the newest.
        """
        return self._streams.store.read(self.stream_id(id), backward=backward)

    async def diff(self, id: str, from_: Moment, to: Moment) -> Difference[S]:
        """Return which fields have changed between two moments, and the events between.

        Args:
            id: Which state.
            from_: The earlier moment, as in `state_at`.
            to: The later one.

        Raises:
            StreamNotFoundError: For a version that is not there.
            ValueError: When `from_` is after `to`, for a version below 0, or a naive datetime.
        """
        return await difference(self._streams, id, from_, to)
