"""Several processes of one subscription: one works, the others take over; partitions are shared."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from catga_core import CatgaApp, ConfigurationError
from catga_core.clock import SystemClock
from catga_core.errors import LeaseLostError
from catga_core.event_sourcing.consumers import (
    ConsumerOptions,
    ConsumerPorts,
    ConsumerWork,
    LeaseLimit,
    LogLosses,
    Progress,
    share_of,
)
from catga_core.event_sourcing.consumers.session import Session
from catga_core.event_sourcing.projections import Projections, add_projection
from catga_core.event_sourcing.subscriptions import Delivery, Subscriptions, add_subscription
from catga_core.interfaces import LockProvider, MembershipStore, NamedValueStore, StoredEvent
from catga_core.runtime import Worker
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.event_sourcing.consuming import (
    Deposited,
    Recorder,
    Table,
    Unasked,
    container_at,
    deposit,
    document,
    fast,
)
from tests.stores import Place


def state(app: CatgaApp, name: str = "totals") -> str:
    return str(app.get(Subscriptions).health(name).details["state"])


def idle_worker() -> Worker:
    """Return a worker that is not started, for a session that no consumer runs."""

    async def turn() -> None: ...

    return Worker("test", turn, every=None, clock=SystemClock())


async def totals(event: Deposited, table: Table) -> None:
    await table.add("totals", event.account, event.amount)


async def test_one_of_two_processes_works_and_the_other_goes_on_when_it_stops(place: Place) -> None:
    async with AsyncExitStack() as second:
        async with AsyncExitStack() as first:
            apps: list[CatgaApp] = []
            for stack in (first, second):
                catga = container_at(place)
                add_subscription(catga, "totals", totals, delivery=Delivery.EXACTLY_ONCE, **fast())
                apps.append(await stack.enter_async_context(catga.running()))
                await eventually(lambda: state(apps[0]) == "running")
            await deposit(apps[1], "a", 1, times=10)
            # Each of them can tell, whoever does the work.
            for app in apps:
                await app.get(Subscriptions).caught_up("totals")
            assert [state(app) for app in apps] == ["running", "standby"]
        await deposit(apps[1], "a", 1, times=10)
        await apps[1].get(Subscriptions).caught_up("totals")
        assert state(apps[1]) in {"running", "catching up"}
        assert await document(apps[1], "totals") == {"a": 20}


async def test_the_work_of_an_owner_that_died_is_taken_over_when_its_lease_has_run_out(memory: Place) -> None:
    clock = ManualClock()
    catga = container_at(memory, clock)
    add_subscription(catga, "totals", totals, delivery=Delivery.EXACTLY_ONCE, **fast(lease_seconds=10))
    async with container_at(memory, clock).running() as dead:
        # As a process leaves it that is killed: a lease nobody renews, and a checkpoint under it.
        held = await dead.get(LockProvider).acquire("subscription:totals", lease=10)
        assert held is not None
        await dead.checkpoints.save("subscription:totals", 2, fencing_token=held.fencing_token)
        await deposit(dead, "a", 1, times=5)
        async with catga.running() as app:
            await eventually(lambda: state(app) == "standby")
            clock.advance(9.9)
            await asyncio.sleep(0.05)
            assert state(app) == "standby"
            clock.advance(0.2)
            await app.get(Subscriptions).caught_up("totals")
            assert await document(app, "totals") == {"a": 3}, "it goes on where the checkpoint is"
            with pytest.raises(LeaseLostError):
                await dead.checkpoints.save("subscription:totals", 5, fencing_token=held.fencing_token)


async def test_an_owner_whose_lease_has_run_out_stops_what_it_does(memory: Place) -> None:
    clock, cancelled, recorder = ManualClock(), asyncio.Event(), Recorder()

    async def slow(event: Unasked) -> None:
        recorder.note(event.number)
        if len(recorder.seen) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    catga = container_at(memory, clock)
    add_subscription(catga, "slow", slow, **fast(lease_seconds=10))
    async with catga.running() as app:
        await app.event_store.append("stream", Unasked(1))
        await recorder.until(1)
        # In one step, as for a process that was frozen: there was no time to renew.
        clock.advance(11)
        async with asyncio.timeout(5):
            await cancelled.wait()

        def seen_again() -> bool:
            clock.advance(1)
            return len(recorder.seen) == 2

        await eventually(seen_again)
        await app.get(Subscriptions).caught_up("slow")
    assert recorder.seen == [1, 1]


async def test_the_late_checkpoint_of_a_former_owner_is_refused_and_its_effects_with_it(place: Place) -> None:
    async with container_at(place).running() as app:
        position = await deposit(app, "a", 5)
        ports = app.get(ConsumerPorts)
        (event,) = [StoredEvent(each, ports.types) for each in await ports.log.read_all(after=0, limit=10)]
        table, first_run = app.get(Table), True

        async def start() -> int:
            return 0

        def session(token: int) -> Session:
            work = ConsumerWork(
                name="totals",
                kind="subscription",
                key="key",
                wants=lambda _: True,
                handle=handle,
                start=start,
                losses=LogLosses("subscription", "totals"),
            )
            return Session(ports, work, ConsumerOptions(), Progress("key"), idle_worker(), token)

        async def handle(stored: StoredEvent) -> None:
            nonlocal first_run
            if first_run:
                first_run = False
                # It was frozen here, for longer than its lease; another one has done its work meanwhile.
                await asyncio.create_task(take_over())
            await table.add("totals", "a", stored.event.amount)

        async def take_over() -> None:
            from catga_core.unit_of_work import active_unit_of_work

            active_unit_of_work.set(None)
            second = session(2)
            await second.claim()
            await second.apply([event], (position, event.message_id))

        first = session(1)
        await first.claim()
        with pytest.raises(LeaseLostError):
            await first.apply([event], (position, event.message_id))

        assert await document(app, "totals") == {"a": 5}
        kept = await app.checkpoints.load("key")
        assert kept is not None
        assert (kept.position, kept.fencing_token) == (position, 2)


async def test_two_consumers_with_the_same_token_do_not_both_take_effect(place: Place) -> None:
    """As after a loss of all locks: the position decides."""
    async with container_at(place).running() as app:
        position = await deposit(app, "a", 5)
        ports = app.get(ConsumerPorts)
        (event,) = [StoredEvent(each, ports.types) for each in await ports.log.read_all(after=0, limit=10)]
        table = app.get(Table)

        async def start() -> int:
            return 0

        async def handle(stored: StoredEvent) -> None:
            await asyncio.sleep(0)
            await table.add("totals", "a", stored.event.amount)

        work = ConsumerWork(
            name="totals",
            kind="subscription",
            key="key",
            wants=lambda _: True,
            handle=handle,
            start=start,
            losses=LogLosses("subscription", "totals"),
        )
        both = [Session(ports, work, ConsumerOptions(), Progress("key"), idle_worker(), 1) for _ in range(2)]
        for each in both:
            await each.claim()
        outcomes = await asyncio.gather(
            *(each.apply([event], (position, event.message_id)) for each in both), return_exceptions=True
        )

        assert sorted(type(each).__name__ for each in outcomes) == ["LeaseLostError", "NoneType"]
        assert await document(app, "totals") == {"a": 5}


async def test_partitions_are_shared_by_the_processes_there_are_and_keep_the_order_of_each_stream(
    place: Place,
) -> None:
    seen: list[tuple[int, str, int]] = []

    def listener(process: int):
        async def listen(event: Unasked, stored: StoredEvent) -> None:
            seen.append((process, stored.stream_id, stored.version))

        return listen

    async with AsyncExitStack() as stack:
        apps: list[CatgaApp] = []
        for process in range(3):
            catga = container_at(place)
            add_subscription(catga, "shared", listener(process), partitions=6, **fast(lease_seconds=0.6))
            apps.append(await stack.enter_async_context(catga.running()))

        def shares() -> list[int]:
            counts = [
                Counter(app.get(Subscriptions).health("shared").details["parts"].values()) for app in apps
            ]
            return [each["running"] for each in counts]

        await eventually(lambda: shares() == [2, 2, 2], within=10)
        for version in range(10):
            await asyncio.gather(
                *(apps[0].event_store.append(f"stream-{number}", Unasked(version)) for number in range(24))
            )
        await apps[0].get(Subscriptions).caught_up("shared", timeout=10)
        assert len({process for process, _, _ in seen}) == 3
        for number in range(24):
            versions = [version for _, stream, version in seen if stream == f"stream-{number}"]
            assert list(dict.fromkeys(versions)) == list(range(1, 11))


async def test_the_partitions_of_a_process_that_stops_go_to_the_others(place: Place) -> None:
    recorder = Recorder()

    async def listen(event: Unasked) -> None:
        recorder.note(event.number)

    def container():
        catga = container_at(place)
        add_subscription(catga, "shared", listen, partitions=4, **fast(lease_seconds=0.6))
        return catga

    async with container().running() as stays:
        async with container().running() as goes:
            await eventually(
                lambda: (
                    Counter(goes.get(Subscriptions).health("shared").details["parts"].values())["running"]
                    == 2
                ),
                within=10,
            )
        for number in range(8):
            await stays.event_store.append(f"stream-{number}", Unasked(number))
        await stays.get(Subscriptions).caught_up("shared", timeout=10)
        await eventually(
            lambda: (
                Counter(stays.get(Subscriptions).health("shared").details["parts"].values())["running"] == 4
            ),
            within=10,
        )
    assert sorted(set(recorder.seen)) == list(range(8))


async def test_another_number_of_partitions_is_refused(place: Place) -> None:
    async def listen(event: Unasked) -> None: ...

    for partitions, message in (
        (2, None),
        (3, r"has partitions=3, and was run with partitions=2 before"),
        (1, "partitions=2 before"),
    ):
        catga = container_at(place)
        add_subscription(catga, "shared", listen, partitions=partitions, **fast())
        if message is None:
            async with catga.running() as app:
                await app.event_store.append("stream", Unasked(1))
                await app.get(Subscriptions).caught_up("shared")
            continue
        with pytest.raises(ConfigurationError, match=message):
            async with catga.running():
                pass


@pytest.mark.parametrize(("first", "second"), [(2, 4), (4, 1), (1, 2)])
async def test_another_number_of_partitions_beside_a_living_process_is_refused(
    place: Place, first: int, second: int
) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    catga, other = container_at(place), container_at(place)
    add_subscription(catga, "shared", note, partitions=first, **fast())
    add_subscription(other, "shared", note, partitions=second, **fast())
    async with catga.running() as app:
        with pytest.raises(ConfigurationError, match=f"partitions={second}.*alive.*partitions={first}"):
            async with other.running():
                pass
        kept = await app.get(NamedValueStore).list("subscription:shared")
        members = await app.get(MembershipStore).members("subscription:shared")
        for number in range(8):
            await app.event_store.append(f"stream-{number}", Unasked(number))
        await app.get(Subscriptions).caught_up("shared")

    assert kept == {"subscription:shared:partitions": first}
    assert len(members) == 1, "a process that is refused leaves the group"
    assert sorted(recorder.seen) == list(range(8))


async def test_two_numbers_of_partitions_started_together_do_not_both_run(place: Place) -> None:
    running = 0
    both = asyncio.Barrier(2)

    async def listen(event: Unasked) -> None: ...

    async def start(partitions: int) -> None:
        nonlocal running
        catga = container_at(place)
        add_subscription(catga, "shared", listen, partitions=partitions, **fast())
        await both.wait()
        async with catga.running():
            running += 1
            # The other one is still starting, or was refused.
            await both.wait()

    async def refused(partitions: int) -> None:
        try:
            await start(partitions)
        except ConfigurationError:
            await both.wait()

    async with asyncio.timeout(20):
        await asyncio.gather(refused(2), refused(3))
    assert running <= 1


async def test_number_of_partitions_may_change_before_there_is_a_checkpoint(place: Place) -> None:
    async def listen(event: Unasked) -> None: ...

    for partitions in (2, 3):
        catga = container_at(place)
        add_subscription(catga, "shared", listen, partitions=partitions, **fast())
        async with catga.running() as app:
            assert await app.get(NamedValueStore).get("subscription:shared:partitions") == partitions
            # The process has taken a partition, and handled nothing.
            await eventually(lambda: _took_one(app))


async def _took_one(app: CatgaApp) -> bool:
    return any(each.fencing_token for each in await app.checkpoints.list())


def test_shares_are_equal_and_the_rest_goes_to_the_first() -> None:
    assert [share_of(["a", "b", "c"], each, 4) for each in "abc"] == [2, 1, 1]
    assert [share_of(["a", "b", "c"], each, 2) for each in "abc"] == [1, 1, 0]
    assert share_of([], "a", 5) == 5


def test_a_quota_tells_who_has_too_many() -> None:
    quota = LeaseLimit(2)
    assert [quota.take(each) for each in "abc"] == [True, True, False]
    quota.change(1)
    assert quota.surplus == 1
    quota.give_back("a")
    assert quota.surplus == 0
    assert quota.held == {"b"}


async def test_a_projection_is_worked_for_by_one_process_at_a_time(place: Place) -> None:
    from tests.core.event_sourcing.test_projections_catch_up import Balances

    async with AsyncExitStack() as stack:
        apps: list[CatgaApp] = []
        for _ in range(3):
            catga = container_at(place)
            add_projection(catga, Balances, **fast())
            apps.append(await stack.enter_async_context(catga.running()))
        await asyncio.gather(*(deposit(app, "a", 1) for app in apps for _ in range(20)))
        for app in apps:
            await app.get(Projections).caught_up("balances")
            assert await document(app, "balances_1") == {"a": 60}
        states = [app.get(Projections).health("balances").details["state"] for app in apps]
        assert states.count("standby") == 2
