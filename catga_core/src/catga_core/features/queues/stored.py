"""`StoredQueues`: the durable transport over a queue store, for a program without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.durable_transport import (
    DurableCapabilities,
    QueueDefinition,
    Received,
    command_queue,
)
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.queue import (
    ALL_QUEUED,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueueLease,
    QueuePage,
    QueueStats,
    QueueStore,
)
from catga_core.interfaces.storage import Storage
from catga_core.log import QUEUE_UNREACHABLE, logger
from catga_core.messages import MessageKind
from catga_core.runtime.retry import RetryPolicy, yield_to_winner
from catga_core.runtime.shielded import acquire_or_release, cleanup
from catga_core.runtime.worker import Worker

_FIRST_RETRY_SECONDS = 0.1
_FRESH = 0.1  # the part of a lease in which it is not asked whose a message is


class StoredSettings(msgspec.Struct, frozen=True):
    """How messages are leased.

    Args:
        lease: Seconds after which another process takes over the messages of a dead one.
        poll: Seconds between two queries where no wake-up reports new messages.
        longest_delay: Seconds that a message waits for its next attempt at most, with what clocks may differ.
    """

    lease: float
    poll: float
    longest_delay: float


class StoredMessage(msgspec.Struct, frozen=True):
    """A leased message, and the store that has to learn what became of it.

    Args:
        leased: The lease.
        store: The store.
    """

    leased: QueueLease
    store: QueueStore

    @property
    def queue(self) -> str:
        """The queue."""
        return self.leased.queue

    @property
    def message(self) -> QueuedMessage:
        """The message."""
        return self.leased.message

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.leased.attempt

    @property
    def error(self) -> str | None:
        """What the last failed attempt failed with."""
        return self.leased.error

    @property
    def held(self) -> bool:
        """As far as is known here: only the store can tell that another process has it."""
        return True

    @property
    def fence(self) -> None:
        """Nothing: the store knows whose it is, so that `StoredQueues.require` is enough."""


class _Demand(msgspec.Struct, eq=False):
    limit: int
    future: asyncio.Future[Sequence[StoredMessage]]


class StoredQueues:
    """Keeps messages in the container's queue store; one query serves all queues that wait.

    What is published or settled in a unit of work of the store's storage is part of it.

    Args:
        store: Returns the current store.
        storage: Returns the current storage.
        clock: The container's clock.
        settings: How messages are leased.
    """

    def __init__(
        self,
        store: Callable[[], QueueStore],
        storage: Callable[[], Storage],
        clock: Clock,
        settings: StoredSettings,
    ) -> None:
        self._store = store
        self._storage = storage
        self._clock = clock
        self._settings = settings
        self._subscribed: dict[str, list[str]] = {}
        self._names: dict[str, None] = {}
        self._demands: dict[str, _Demand] = {}
        self._worker = Worker(
            "queues",
            self._turn,
            every=settings.poll,
            clock=clock,
            retry=RetryPolicy(
                max_attempts=None,
                delay_seconds=_FIRST_RETRY_SECONDS,
                max_delay_seconds=max(settings.poll * 10, _FIRST_RETRY_SECONDS),
            ),
            idle=self._idle,
            on_error=_unreachable,
        )

    @property
    def capabilities(self) -> DurableCapabilities:
        """As durable as the storage, for the queues of this composition, in its units of work."""
        durable = self._storage().capabilities.durable
        return DurableCapabilities(durable=durable, remote=False, transactional=True)

    async def start(self) -> None:
        """Begin to lease what is asked for."""
        self._worker.start()

    async def stop(self) -> None:
        """Lease nothing more."""
        await self._worker.stop()

    async def declare(self, queues: Sequence[QueueDefinition], /) -> None:
        """Declare the queues of this process; from then on they get what is published for them."""
        for queue in queues:
            self._names[queue.name] = None
            for name in queue.messages if queue.kind is MessageKind.EVENT else ():
                known = self._subscribed.setdefault(name, [])
                if queue.name not in known:
                    known.append(queue.name)

    async def publish(self, message: QueuedMessage, /) -> None:
        """Add an event to every queue of this composition that takes it."""
        queues = self._subscribed.get(message.name)
        if queues:
            await self._store().add(message, queues=queues)

    async def enqueue(self, message: QueuedMessage, /) -> None:
        """Add a command to its queue."""
        await self._store().add(message, queues=[command_queue(message.name)])

    async def receive(self, queue: str, /, *, limit: int, timeout: float) -> Sequence[StoredMessage]:
        """Return messages that are due, for this process to settle; none after the timeout."""
        demand = _Demand(limit, asyncio.get_running_loop().create_future())
        self._demands[queue] = demand
        self._worker.wake()
        try:
            await asyncio.wait([demand.future], timeout=timeout)
        except asyncio.CancelledError:
            self._withdraw(queue, demand)
            if demand.future.done():
                await cleanup(self.release(demand.future.result()))
            raise
        self._withdraw(queue, demand)
        return demand.future.result() if demand.future.done() else ()

    async def extend(self, received: Sequence[Received], /) -> Sequence[Received]:
        """Renew the leases of messages; return those that are still this process's."""
        kept: list[Received] = []
        for store, leased in _by_store(received):
            renewed = await store.renew(leased, lease=self._settings.lease)
            kept += [StoredMessage(each, store) for each in renewed]
        return kept

    async def complete(self, received: Received, /, *, result: bytes | None = None) -> None:
        """Record that a message was handled."""
        known = _own(received)
        await known.store.complete([known.leased], result=result)

    async def require(self, received: Received, /) -> None:
        """Require that a message is this process's until the ambient unit of work is committed."""
        known = _own(received)
        await known.store.require(known.leased)

    async def retry(self, received: Received, /, *, delay: float, error: str) -> None:
        """Have a message delivered again after a number of seconds."""
        known = _own(received)
        await known.store.retry(known.leased, delay=delay, error=error)

    async def release(self, received: Sequence[Received], /) -> None:
        """Give messages back unhandled, due at once."""
        for store, leased in _by_store(received):
            await store.release(leased)

    async def discard(self, received: Received, /, *, hold_key: bool = False) -> bool:
        """Remove a message whose dead letter was written."""
        known = _own(received)
        return await known.store.discard(known.leased, hold_key=hold_key)

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Deliver the messages of a held key, in order; return whether it was held."""
        return await self._store().release_key(queue, key)

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; return whether it was removed."""
        return await self._store().cancel(queue, message_id)

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message, done or not; `None` where there is none, or it was pruned."""
        return await self._store().get(queue, message_id)

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time."""
        return await self._store().find(filter, after=after, limit=limit)

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue."""
        return await self._store().stats()

    def health(self) -> Health:
        """Return whether the store can be reached."""
        if self._worker.failures:
            text = f"the queues could not be read {self._worker.failures} times in a row: {self._worker.last_error}"
            return Health(HealthStatus.UNHEALTHY, text, {"queues": len(self._names)})
        return Health(HealthStatus.HEALTHY, "", {"queues": len(self._names)})

    # --- one query for all ---

    async def _turn(self) -> bool:
        wanted = dict(self._demands)
        if not wanted:
            return False
        store = self._store()

        async def give_back(taken: Sequence[QueueLease]) -> None:
            if taken:
                await store.release(taken)

        demands = {queue: demand.limit for queue, demand in wanted.items()}
        leased = await acquire_or_release(self._lease(store, demands), give_back)
        by_queue: dict[str, list[StoredMessage]] = {}
        for each in leased:
            by_queue.setdefault(each.queue, []).append(StoredMessage(each, store))
        left: list[QueueLease] = []
        for queue, messages in by_queue.items():
            demand = wanted[queue]
            # The one who asked may have left meanwhile.
            if self._demands.get(queue) is demand and not demand.future.done():
                del self._demands[queue]
                demand.future.set_result(messages)
            else:
                left += [each.leased for each in messages]
        # After all others have theirs: a store that is away must not keep them from their messages.
        await give_back(left)
        return bool(leased) and bool(self._demands)

    async def _lease(self, store: QueueStore, demands: Mapping[str, int]) -> Sequence[QueueLease]:
        settings, clock = self._settings, self._clock
        began = clock.monotonic()
        leased = await store.lease(demands, lease=settings.lease, longest_delay=settings.longest_delay)
        if leased and clock.monotonic() - began > _FRESH * settings.lease:
            # The store was slow, or this process stood still: some of them may be another's by now.
            leased = await store.renew(leased, lease=settings.lease)
        return leased

    async def _idle(self, seconds: float) -> None:
        queues = list(self._demands)
        if not queues:
            await asyncio.sleep(seconds)
            return
        began = asyncio.get_running_loop().time()
        await self._store().wait(queues, timeout=seconds)
        await yield_to_winner(began, most=seconds)

    def _withdraw(self, queue: str, demand: _Demand) -> None:
        if self._demands.get(queue) is demand:
            del self._demands[queue]


def _own(received: Received) -> StoredMessage:
    if not isinstance(received, StoredMessage):
        msg = f"{type(received).__name__} was not received from this transport. Settle it where it came from."
        raise TypeError(msg)
    return received


def _by_store(received: Sequence[Received]) -> list[tuple[QueueStore, list[QueueLease]]]:
    found: dict[int, tuple[QueueStore, list[QueueLease]]] = {}
    for each in received:
        known = _own(each)
        found.setdefault(id(known.store), (known.store, []))[1].append(known.leased)
    return list(found.values())


def _unreachable(error: Exception, delay: float) -> None:
    logger().error(
        QUEUE_UNREACHABLE, error=f"{type(error).__name__}: {error}", retry_in_seconds=round(delay, 3)
    )
