"""`AggregateRepository`: loads, saves and updates aggregates."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import ClassVar, Generic, TypeVar

from catga_core.event_sourcing.aggregate_folds import fold_of
from catga_core.event_sourcing.aggregates import Aggregate
from catga_core.event_sourcing.progress import Progress
from catga_core.event_sourcing.retrying import ATTEMPTS, saved_with_retries
from catga_core.event_sourcing.snapshots import SnapshotCounts, Snapshots
from catga_core.event_sourcing.state_streams import StateStreams
from catga_core.event_sourcing.time_travel import Difference, Moment, difference, state_at
from catga_core.interfaces.event_store import EventStore, StoredEvent

A = TypeVar("A", bound=Aggregate)


class AggregateRepository(Generic[A]):
    """The aggregates of one class, each in its own stream, called `category-id`.

    Args:
        aggregate: The class; the events it applies are registered with the store.
        store: Where the events are.
        snapshots: Where states are kept, and how often; `None` to replay all events each time.

    Raises:
        ConfigurationError: When the class cannot be made of an id, or its state cannot be kept in snapshots.
    """

    __catga_registered_by__: ClassVar[str] = "Register it with add_aggregate(catga, {})"

    def __init__(self, aggregate: type[A], store: EventStore, *, snapshots: Snapshots | None = None) -> None:
        self._aggregate: type[A] = aggregate
        self._streams: StateStreams[A] = StateStreams(fold_of(aggregate), store, snapshots)

    @property
    def snapshot_counts(self) -> SnapshotCounts:
        """What became of its snapshots."""
        snapshots = self._streams.snapshots
        return SnapshotCounts() if snapshots is None else snapshots.counts

    def stream_id(self, id: str) -> str:
        """Return the name of an aggregate's stream.

        Raises:
            ValueError: For an id that is none.
        """
        return self._streams.stream_id(id)

    async def load(self, id: str) -> A:
        """Return an aggregate as it is now.

        Args:
            id: Which one.

        Raises:
            StreamNotFoundError: When it has no events.
            CatgaError: `SERIALIZATION_FAILED` when an event cannot be read, `INTERNAL_ERROR` when one is of no class
                that it applies.
        """
        aggregate = await self.load_or_new(id)
        if not aggregate.version:
            raise self._streams.not_found(id)
        return aggregate

    async def load_or_new(self, id: str) -> A:
        """Return an aggregate as it is now, a new one where it has no events.

        Args:
            id: Which one.

        Raises:
            CatgaError: As `load`.
        """
        return _with_progress(*await self._streams.load(id))

    async def save(self, aggregate: A) -> None:
        """Store the events that were raised, all or nothing; without any it does nothing.

        After an error the aggregate is as before, and saving it again never stores an event twice: each has had its
        identity since it was raised.

        Args:
            aggregate: Of this repository's class, loaded or new.

        Raises:
            ConcurrencyError: When another has saved it since it was loaded, or a new one exists; nothing was written.
            CatgaError: `SERIALIZATION_FAILED` when an event has no bytes or too many, `PERSISTENCE_FAILED` when they
                could not be written; `details["outcome"]` is `unknown` where they may have been.
            TypeError: For what is none of this repository's class.
        """
        given: object = aggregate
        if not isinstance(given, self._aggregate):
            msg = f"a repository of {self._aggregate.__name__} saves {self._aggregate.__name__} only: {given!r} is none"
            raise TypeError(msg)
        await self._streams.save(aggregate.id, aggregate, aggregate.__catga_progress__)

    async def update(
        self,
        id: str,
        change: Callable[[A], Awaitable[object] | object],
        *,
        create: bool = False,
        attempts: int = ATTEMPTS,
    ) -> A:
        """Load an aggregate, change it and save it; start over when another caller has saved it meanwhile.

        Args:
            id: Which one.
            change: Changes it by its methods; may be a coroutine function. It runs again with each attempt, so it should
                do nothing else.
            create: Take a new one where it has no events, instead of raising.
            attempts: How often at most, 1 or more.

        Returns:
            The aggregate as it was saved.

        Raises:
            StreamNotFoundError: When it has no events.
            ConcurrencyError: When others were quicker every time.
            CatgaError: As `load` and `save`. An outcome that the store cannot tell is asked for again with the same
                events; `PERSISTENCE_FAILED` with `details["outcome"] == "unknown"` means that it stayed unknown.
        """

        async def changed() -> A:
            aggregate = await (self.load_or_new(id) if create else self.load(id))
            result = change(aggregate)
            if inspect.isawaitable(result):
                await result
            return aggregate

        return await saved_with_retries(self.stream_id(id), attempts, changed, self.save)

    # --- the past ---

    async def state_at(self, id: str, moment: Moment) -> A:
        """Return an aggregate as it was; it is for looking at, and cannot be saved once others have gone on.

        Args:
            id: Which one.
            moment: A version (0 for a new one), or an aware datetime: everything up to the first event that was recorded
                later.

        Raises:
            StreamNotFoundError: For a version that is not there.
            ValueError: For a version below 0, or a naive datetime.
        """
        return _with_progress(*await state_at(self._streams, id, moment))

    def history(self, id: str, *, backward: bool = False) -> AsyncGenerator[StoredEvent]:
        """Give everything that has happened to an aggregate, with when, where and why.

        Args:
            id: Which one; without events it gives nothing.
            backward: Begin with the newest.
        """
        return self._streams.store.read(self.stream_id(id), backward=backward)

    async def diff(self, id: str, from_: Moment, to: Moment) -> Difference[A]:
        """Return which attributes have changed between two moments, and the events between.

        Args:
            id: Which one.
            from_: The earlier moment, as in `state_at`.
            to: The later one.

        Raises:
            StreamNotFoundError: For a version that is not there.
            ValueError: When `from_` is after `to`, for a version below 0, or a naive datetime.
        """
        return await difference(self._streams, id, from_, to)


def _with_progress(aggregate: A, progress: Progress) -> A:
    aggregate.__catga_progress__ = progress
    return aggregate
