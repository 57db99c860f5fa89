"""Messages that a process has lost to another one, and what its handlers do then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from catga_core import (
    CatgaApp,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    Clock,
    Command,
    ErrorCode,
    Event,
    LeaseLostError,
    add_catga,
    message,
)
from catga_core.clock import SystemClock
from catga_core.container import add_stores
from catga_core.interfaces import Stores
from catga_core.interfaces.queue import QueueLease, QueueStore
from catga_core.log import LEASE_LOST
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_core.memory.stores.queue import MemoryQueueStore
from catga_core.reliability import QueueOptions, add_queues, ordered_by
from catga_testing.waiting import eventually

LEASE = 0.4


@ordered_by(lambda event: event.key)
@message(delivery="at_least_once")
class Ordered(Event):
    key: str


@message(delivery="at_least_once")
class Unordered(Event):
    pass


@message(delivery="exactly_once")
class Once(Event):
    pass


class Reach(MemoryQueueStore):
    """The store as one process reaches it: not at all, or late, when a test says so."""

    def __init__(self, storage: MemoryStorage, clock: Clock) -> None:
        super().__init__(storage, clock)
        self.away = False
        self.loses = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.leases = 0

    async def lease(
        self, demands: Mapping[str, int], /, *, lease: float, longest_delay: float | None = None
    ) -> list[QueueLease]:
        self._reach()
        found = await super().lease(demands, lease=lease, longest_delay=longest_delay)
        self.leases += bool(found)
        await self.answers.wait()
        return found

    async def renew(self, leased: Sequence[QueueLease], /, *, lease: float) -> list[QueueLease]:
        self._reach()
        # What it answers where another process has them all.
        return [] if self.loses else await super().renew(leased, lease=lease)

    def _reach(self) -> None:
        if self.away:
            raise CatgaError("the store is away", code=ErrorCode.PERSISTENCE_FAILED)


class Replica:
    """One process over the storage."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.storage = storage
        self.store: Reach | None = None
        self.handlers: Sequence[Callable[[Any], Awaitable[None]]] = ()
        self.began: list[Event] = []
        self.ended: list[Event] = []
        self.cancelled: list[Event] = []
        self.go_on = asyncio.Event()

    @property
    def reach(self) -> Reach:
        assert self.store is not None
        return self.store

    async def start(self, running: AsyncExitStack) -> CatgaApp:
        catga = add_catga(CatgaOptions(service_name="replicas"))

        def stores(clock: Clock) -> Stores:
            self.store = Reach(self.storage, clock)
            made = memory_stores(clock, self.storage)
            ports = {port: made.get(port) for port in MEMORY_PORTS}
            return Stores(made.storage, {**ports, QueueStore: self.store})

        add_stores(catga, stores, MEMORY_PORTS, name="memory")
        add_queues(catga, QueueOptions(lease_seconds=LEASE, poll_seconds=0.02, retry_delay_seconds=0.01))

        async def wait(event: Event) -> None:
            self.began.append(event)
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled.append(event)
                raise
            self.ended.append(event)

        async def ordered(event: Ordered) -> None:
            await wait(event)

        async def unordered(event: Unordered) -> None:
            await wait(event)

        async def once(event: Once) -> None:
            await wait(event)

        catga.add_handlers(*(self.handlers or (ordered, unordered, once)))
        return await running.enter_async_context(catga.running())


@pytest.mark.parametrize("event", [Ordered("k"), Unordered(), Once()], ids=["ordered", "unordered", "once"])
async def test_a_handler_ends_when_another_process_has_its_message(event: Event) -> None:
    storage = MemoryStorage()
    first, second = Replica(storage), Replica(storage)
    async with AsyncExitStack() as running:
        app = await first.start(running)
        await app.mediator.publish(event)
        await eventually(lambda: first.began)
        first.reach.away = True
        await second.start(running)

        await eventually(lambda: second.began)
        first.reach.away = False
        await eventually(lambda: first.cancelled)
        second.go_on.set()
        await eventually(lambda: second.ended)

        assert first.ended == []


async def test_an_ordered_handler_ends_when_its_lease_is_over_and_nobody_answers() -> None:
    replica = Replica(MemoryStorage())
    async with AsyncExitStack() as running:
        app = await replica.start(running)
        await app.mediator.publish(Ordered("k"))
        await eventually(lambda: replica.began)
        replica.reach.away = True

        await eventually(lambda: replica.cancelled)

        replica.reach.away = False
        replica.go_on.set()
        await eventually(lambda: replica.ended)
        assert len(replica.began) == 2


@pytest.mark.parametrize("event", [Unordered(), Once()], ids=["unordered", "once"])
async def test_another_handler_goes_on_while_the_store_is_away(event: Event) -> None:
    replica = Replica(MemoryStorage())
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as running:
        app = await replica.start(running)
        await app.mediator.publish(event)
        await eventually(lambda: replica.began)
        replica.reach.away = True
        over = loop.time() + 2 * LEASE
        await eventually(lambda: loop.time() > over)

        replica.go_on.set()
        await eventually(lambda: replica.ended)
        replica.reach.away = False

        assert replica.cancelled == []


async def test_a_message_whose_lease_was_answered_too_late_is_not_begun() -> None:
    storage = MemoryStorage()
    slow, other = Replica(storage), Replica(storage)
    other.go_on.set()
    slow.go_on.set()
    async with AsyncExitStack() as running:
        app = await slow.start(running)
        slow.reach.answers.clear()
        await app.mediator.publish(Ordered("k"))
        await eventually(lambda: slow.reach.leases)
        await other.start(running)
        await eventually(lambda: other.ended)

        slow.reach.answers.set()
        await app.mediator.publish(Ordered("k"))
        await eventually(lambda: len(slow.ended) + len(other.ended) == 2)

        assert len(slow.began) + len(other.began) == 2


class Step(Command[None]):
    left: int


async def test_a_handler_that_raises_a_lost_lease_of_its_own_is_retried() -> None:
    attempts: list[int] = []

    async def lose(event: Once) -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise LeaseLostError("the lock 'stock'", "somebody else has it")

    catga = add_catga()
    # A lease that outlasts the test: only a retry comes earlier.
    add_queues(catga, QueueOptions(lease_seconds=600, poll_seconds=0.02, retry_delay_seconds=0.01))
    catga.add_handlers(lose)
    async with catga.running() as app:
        await app.mediator.publish(Once())

        await eventually(lambda: len(attempts) == 2)


class First(Command[None]):
    left: int


async def test_queues_in_memory_are_emptied_of_what_their_handlers_enqueue_meanwhile() -> None:
    had: list[str] = []
    mediators: list[CatgaMediator] = []
    stopping = asyncio.Event()
    catga = add_catga()
    add_queues(catga, QueueOptions(poll_seconds=0.02))

    async def first(command: First) -> None:
        await stopping.wait()
        # Longer than an empty queue is looked at.
        over = asyncio.get_running_loop().time() + 0.2
        await eventually(lambda: asyncio.get_running_loop().time() > over)
        had.append(f"first {command.left}")
        await mediators[0].enqueue(Step(command.left))

    async def step(command: Step) -> None:
        had.append(f"step {command.left}")
        if command.left:
            await mediators[0].enqueue(First(command.left - 1))

    catga.add_handlers(first, step)
    async with catga.running() as app:
        mediators.append(app.mediator)
        await app.mediator.enqueue(First(1))
        stopping.set()

    assert had == ["first 1", "step 1", "first 0", "step 0"]


class Standing(SystemClock):
    """The clock of a process that has stood still for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_process_that_stood_still_commits_nothing_of_what_it_was_handling(
    log: list[MutableMapping[str, Any]],
) -> None:
    clock = Standing()
    attempts: list[str] = []
    catga = add_catga(CatgaOptions(service_name="replicas"))
    catga.add_singleton(Clock, clock)
    add_queues(catga, QueueOptions(lease_seconds=LEASE, poll_seconds=0.02))

    async def note(event: Ordered) -> None:
        attempts.append(event.key)
        async with app.unit_of_work():
            await app.event_store.append("notes", [Noted(len(attempts))])
            if len(attempts) == 1:
                clock.ahead = 60.0

    catga.add_handlers(note)
    async with catga.running() as app:
        await app.mediator.publish(Ordered("a"))
        await eventually(lambda: len(attempts) == 2)
        await eventually(lambda: noted(app), message="the second attempt has committed")
        assert await noted(app) == [2]
    assert [line["attempt"] for line in log if line["event"] == LEASE_LOST] == [1]


async def test_a_task_that_a_handler_left_behind_commits_after_it_has_returned() -> None:
    clock = Standing()
    returned = asyncio.Event()
    left: list[asyncio.Task[None]] = []
    catga = add_catga(CatgaOptions(service_name="replicas"))
    catga.add_singleton(Clock, clock)
    add_queues(catga, QueueOptions(lease_seconds=LEASE, poll_seconds=0.02))

    async def later() -> None:
        await returned.wait()
        clock.ahead = 60.0
        async with app.unit_of_work():
            await app.event_store.append("notes", [Noted(1)])

    async def start(event: Ordered) -> None:
        left.append(asyncio.create_task(later()))

    catga.add_handlers(start)
    async with catga.running() as app:
        await app.mediator.publish(Ordered("a"))
        await eventually(lambda: app.health()["queue_consumers"].details["handled"] == 1)
        returned.set()
        await asyncio.gather(*left)
        assert await noted(app) == [1]


async def test_a_handler_that_goes_on_after_its_message_is_lost_commits_nothing() -> None:
    storage = MemoryStorage()
    replica = Replica(storage)
    refused: list[LeaseLostError] = []
    stubborn = asyncio.Event()

    async def note(event: Ordered) -> None:
        if stubborn.is_set():
            return
        async with app.unit_of_work():
            await app.event_store.append("notes", [Noted(1)])
            stubborn.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                replica.reach.loses = False

    async def noting(event: Ordered) -> None:
        try:
            await note(event)
        except LeaseLostError as error:
            refused.append(error)
            raise

    replica.handlers = (noting,)
    async with AsyncExitStack() as running:
        app = await replica.start(running)
        await app.mediator.publish(Ordered("k"))
        await stubborn.wait()
        replica.reach.loses = True

        await eventually(lambda: refused)
        assert await noted(app) == []


class Noted(Event):
    attempt: int


async def noted(app: CatgaApp) -> list[int]:
    return [each.event.attempt async for each in app.event_store.read("notes")]
