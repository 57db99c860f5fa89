"""A projection is built anew beside the one that is read, and takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from catga_core import CatgaApp, CatgaError, ErrorCode, HealthStatus
from catga_core.event_sourcing.consumers import CheckpointMover
from catga_core.event_sourcing.projections import (
    OnFailure,
    Projection,
    ProjectionMode,
    Projections,
    add_projection,
    current_projection,
    is_replay,
    project,
)
from catga_core.event_sourcing.projections.generation_work import GenerationWork
from catga_core.interfaces import DeadLetterFilter
from catga_testing.waiting import eventually
from tests.core.event_sourcing.consuming import (
    Deposited,
    Poison,
    Table,
    container_at,
    deposit,
    document,
    fast,
)
from tests.core.support import Gate
from tests.stores import Place


class Base(Projection):
    def __init__(self, table: Table) -> None:
        self.table = table

    @project
    async def deposited(self, event: Deposited) -> None:
        await self.table.add(current_projection().target, event.account, self.worth(event))

    def worth(self, event: Deposited) -> int:
        return event.amount

    async def reset(self) -> None:
        await self.table.put(current_projection().target, {"made": 1})

    async def remove(self) -> None:
        await self.table.drop(current_projection().target)


class Balances(Base, name="balances"):
    pass


class Doubled(Base, name="balances", version=2):
    def worth(self, event: Deposited) -> int:
        return 2 * event.amount


def running(place: Place, cls: type[Projection] = Balances, **options: Any) -> Any:
    catga = container_at(place)
    add_projection(catga, cls, **fast(**options))
    return catga.running()


async def test_who_reads_sees_all_of_the_old_or_all_of_the_new_while_events_keep_coming(place: Place) -> None:
    async with running(place) as app:
        count = 40
        await deposit(app, "a", 1, times=count)
        projections, table = app.get(Projections), app.get(Table)
        await projections.caught_up("balances")
        reads: list[tuple[str, int]] = []

        async def query(target: str) -> tuple[str, int]:
            found = await table.get(target)
            assert found is not None, f"{target} is read and not there"
            await asyncio.sleep(0)
            return target, found["a"]

        target = await projections.rebuild("balances")
        async with asyncio.timeout(20):
            while not reads or reads[-1][0] != target:
                await deposit(app, "a", 1)
                count += 1
                reads.append(await projections.read("balances", query))
                await asyncio.sleep(0)
        await projections.caught_up("balances")

        assert target == "balances_1_1"
        totals = [total for _, total in reads]
        assert totals == sorted(totals), "nobody who reads goes back in time"
        assert min(totals) >= 40
        assert await document(app, target) == {"made": 1, "a": count}
        assert await document(app, "balances_1") == {}, "the old one is removed"
        # And what comes after the switch is handled by the new one.
        await deposit(app, "a", 1)
        await projections.caught_up("balances")
        assert await document(app, target) == {"made": 1, "a": count + 1}


async def test_a_second_rebuild_makes_a_third_target(place: Place) -> None:
    async with running(place) as app:
        await deposit(app, "a", 3)
        projections = app.get(Projections)
        await projections.caught_up("balances")
        targets = [await projections.rebuild("balances", wait=10) for _ in range(2)]

        assert targets == ["balances_1_1", "balances_1_2"]
        assert await projections.target("balances") == "balances_1_2"
        names = [each.name for each in await app.checkpoints.list()]
        assert [name for name in names if ":1." in name] == ["projection:balances:1.2"]


async def test_a_rebuild_that_is_asked_for_twice_is_done_once(place: Place) -> None:
    async with running(place) as app:
        await deposit(app, "a", 3)
        projections = app.get(Projections)
        await projections.caught_up("balances")
        targets = await asyncio.gather(*(projections.rebuild("balances", wait=10) for _ in range(2)))
        assert set(targets) == {"balances_1_1"}
        assert await projections.target("balances") == "balances_1_1"


async def test_a_rebuild_goes_on_in_another_process(place: Place) -> None:
    gate = Gate()

    class Slow(Base, name="balances"):
        @project
        async def deposited(self, event: Deposited) -> None:
            if current_projection().target != "balances_1" and event.amount == 2:
                await gate.pass_through()
            await self.table.add(current_projection().target, event.account, event.amount)

    catga = container_at(place)
    add_projection(catga, Slow, **fast(batch_size=1))
    async with catga.running() as app:
        for amount in (1, 2, 3):
            await deposit(app, "a", amount)
        await app.get(Projections).caught_up("balances")
        await app.get(Projections).rebuild("balances")
        if gate.arrived == 0:
            await gate.reached()
        # Opened for the process to end; the rest is for the next one.
        asyncio.get_running_loop().call_later(0.05, gate.open)
    async with running(place) as app:
        projections = app.get(Projections)
        await eventually(lambda: _is_read(projections, "balances_1_1"))
        await projections.caught_up("balances")
        assert await document(app, "balances_1_1") == {"made": 1, "a": 6}


async def test_process_that_stood_by_during_a_rebuild_takes_over_after_it(place: Place) -> None:
    gate = Gate()

    class Slow(Base, name="balances"):
        @project
        async def deposited(self, event: Deposited) -> None:
            if current_projection().target != "balances_1" and event.amount == 2:
                await gate.pass_through()
            await self.table.add(current_projection().target, event.account, event.amount)

    def rebuild_state(app: CatgaApp) -> Any:
        return app.projections.health("balances").details.get("rebuild", {}).get("state")

    stacks = [AsyncExitStack(), AsyncExitStack()]
    async with stacks[0], stacks[1]:
        apps: list[CatgaApp] = []
        for stack in stacks:
            catga = container_at(place)
            add_projection(catga, Slow, **fast(batch_size=1))
            apps.append(await stack.enter_async_context(catga.running()))
        for amount in (1, 2, 3):
            await deposit(apps[0], "a", amount)
        await apps[0].projections.caught_up("balances")
        await apps[0].projections.rebuild("balances")
        # One builds, and the other one waits for its lease.
        await eventually(lambda: sorted(map(str, map(rebuild_state, apps))) == ["catching up", "standby"])
        builder = [rebuild_state(app) for app in apps].index("catching up")
        gate.open()
        await eventually(lambda: _is_read(apps[0].projections, "balances_1_1"))
        await stacks[builder].aclose()
        other = apps[1 - builder]
        await deposit(other, "a", 10)
        await other.projections.caught_up("balances")
        assert await document(other, "balances_1_1") == {"made": 1, "a": 16}
        await eventually(lambda: other.projections.health("balances").details["state"] == "running")


async def test_rebuild_that_a_newer_version_overtakes_leaves_nothing(place: Place) -> None:
    gate = Gate()

    class Slow(Base, name="balances"):
        @project
        async def deposited(self, event: Deposited) -> None:
            if current_projection().target == "balances_1_1" and event.amount == 2:
                await gate.pass_through()
            await self.table.add(current_projection().target, event.account, event.amount)

    async with running(place, Slow, batch_size=1) as old:
        await deposit(old, "a", 1)
        await deposit(old, "a", 2)
        # More than a switch handles by itself.
        await deposit(old, "a", 1, times=110)
        await old.projections.caught_up("balances")
        await old.projections.rebuild("balances")
        await gate.reached()
        assert await document(old, "balances_1_1") == {"made": 1, "a": 1}
        async with running(place, Doubled) as new:
            await eventually(lambda: _is_read(new.projections, "balances_2"))
            gate.open()

            async def leftovers() -> list[Any]:
                kept = [each.name for each in await new.checkpoints.list() if ":1." in each.name]
                return [*kept, *(await document(new, "balances_1")), *(await document(new, "balances_1_1"))]

            async def nothing_is_left() -> bool:
                return not await leftovers()

            await eventually(nothing_is_left)
            await deposit(new, "a", 10)
            await new.projections.caught_up("balances")
            assert await document(new, "balances_2") == {"made": 1, "a": 246}
            assert await leftovers() == []


@pytest.mark.parametrize("mode", [ProjectionMode.CATCH_UP, ProjectionMode.INLINE])
async def test_new_version_replaces_a_rebuild_that_was_switched_meanwhile(
    place: Place, mode: ProjectionMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode is ProjectionMode.INLINE and place.name == "redis":
        pytest.skip("a storage that writes only at the commit has no inline projections")
    gate, at_limit = Gate(), GenerationWork.at_limit

    async def late(self: GenerationWork, mover: CheckpointMover) -> bool:
        if self.generation.version == 2:
            await gate.pass_through()
        return await at_limit(self, mover)

    monkeypatch.setattr(GenerationWork, "at_limit", late)
    async with running(place, mode=mode) as old, AsyncExitStack() as stack:
        await deposit(old, "a", 1, times=5)
        await old.projections.caught_up("balances")
        # With a checkpoint before the last event: the first save of all finds a switch by itself.
        newer = running(place, Doubled, mode=mode, batch_size=1)
        starting = asyncio.create_task(stack.enter_async_context(newer))
        await gate.reached()
        await old.projections.rebuild("balances", wait=10)
        gate.open()
        async with asyncio.timeout(10):
            new = await starting
        await eventually(lambda: _is_read(new.projections, "balances_2"))
        await deposit(new, "a", 10)
        await new.projections.caught_up("balances")
        assert await document(new, "balances_2") == {"made": 1, "a": 30}
        assert await document(new, "balances_1_1") == {}


async def _is_read(projections: Projections, target: str) -> bool:
    return await projections.target("balances") == target


async def test_a_new_version_is_built_beside_the_old_one_and_takes_its_place(place: Place) -> None:
    async with running(place) as old:
        await deposit(old, "a", 1, times=10)
        await old.get(Projections).caught_up("balances")
        async with running(place, Doubled) as new:
            projections = new.get(Projections)
            await eventually(lambda: _is_read(projections, "balances_2"))
            await deposit(new, "a", 1)
            await projections.caught_up("balances")

            assert await document(new, "balances_2") == {"made": 1, "a": 22}
            assert await document(new, "balances_1") == {}
            # The old program sees that it has been replaced, and leaves the new one's alone.
            said = "version 2 of the projection 'balances' is read"
            await eventually(lambda: said in old.get(Projections).health("balances").description)
            assert old.get(Projections).health("balances").status is HealthStatus.DEGRADED
            with pytest.raises(CatgaError, match=r"version 2 .* is read, and this program has version 1"):
                await old.get(Projections).rebuild("balances")


async def test_a_new_version_goes_on_where_an_old_one_has_ended_that_nobody_runs(place: Place) -> None:
    async with running(place) as old:
        await deposit(old, "a", 1, times=10)
        await old.get(Projections).caught_up("balances")
    async with running(place, Doubled) as new:
        await deposit(new, "a", 1)
        await eventually(lambda: _is_read(new.get(Projections), "balances_2"))
        await new.get(Projections).caught_up("balances")
        assert await document(new, "balances_2") == {"made": 1, "a": 22}


async def test_a_rebuild_is_a_replay_and_what_comes_after_it_is_not(place: Place) -> None:
    replays: list[tuple[str, int, bool]] = []

    class Watching(Base, name="balances"):
        @project
        async def deposited(self, event: Deposited) -> None:
            replays.append((current_projection().target, event.amount, is_replay()))

    async with container_at(place).running() as app:
        await deposit(app, "a", 1)
    async with running(place, Watching) as app:
        projections = app.get(Projections)
        await deposit(app, "a", 2)
        await projections.caught_up("balances")
        await projections.rebuild("balances", wait=10)
        await deposit(app, "a", 3)
        await projections.caught_up("balances")

    first, second = "balances_1", "balances_1_1"
    assert list(dict.fromkeys(replays)) == [
        (first, 1, True),
        (first, 2, False),
        (second, 1, True),
        (second, 2, True),
        (second, 3, False),
    ]
    assert not is_replay()


async def test_what_the_old_one_has_parked_is_parked_by_the_new_one_or_gone(place: Place) -> None:
    class Poisoned(Base, name="balances"):
        broken = True

        @project
        async def poison(self, event: Poison) -> None:
            if self.broken:
                raise ValueError("no")

    async with running(place, Poisoned, on_failure=OnFailure.PARK) as app:
        await app.event_store.append("account-p", Poison("p"))
        await deposit(app, "a", 1)
        projections = app.get(Projections)
        await projections.caught_up("balances")
        await projections.rebuild("balances", wait=10)
        await eventually(lambda: _count(app, 1))
        app.get(Poisoned).broken = False
        await projections.rebuild("balances", wait=10)
        await eventually(lambda: _count(app, 0))


async def test_what_an_old_version_has_parked_is_gone_when_the_new_one_is_read_that_replaced_its_program(
    place: Place,
) -> None:
    class Poisoned(Base, name="balances"):
        @project
        async def poison(self, event: Poison) -> None:
            raise ValueError("no")

    class Mended(Base, name="balances", version=2):
        @project
        async def poison(self, event: Poison) -> None:
            await self.table.add(current_projection().target, event.account, 1)

    async with running(place, Poisoned, on_failure=OnFailure.PARK) as app:
        await app.event_store.append("account-p", Poison("p"))
        await app.projections.caught_up("balances")
        assert await _count(app, 1)
    async with running(place, Mended, on_failure=OnFailure.PARK) as app:
        await eventually(lambda: _is_read(app.projections, "balances_2"))
        await eventually(lambda: _count(app, 0))
        assert (await document(app, "balances_2"))["p"] == 1


async def _count(app: CatgaApp, count: int) -> bool:
    return await app.dead_letters.count(DeadLetterFilter(handler="balances")) == count


async def test_a_projection_that_does_not_say_how_it_is_emptied_cannot_be_rebuilt(place: Place) -> None:
    class Plain(Projection, name="plain"):
        @project
        async def deposited(self, event: Deposited) -> None: ...

    async with running(place, Plain) as app:
        with pytest.raises(CatgaError, match="cannot be rebuilt: give Plain async def reset"):
            await app.get(Projections).rebuild("plain")


async def test_a_live_projection_cannot_be_rebuilt(place: Place) -> None:
    async with running(place, mode=ProjectionMode.LIVE) as app:
        with pytest.raises(CatgaError, match="is live and cannot be rebuilt: a catch-up projection can"):
            await app.get(Projections).rebuild("balances")


async def test_a_switch_that_fails_is_tried_again_and_told(place: Place) -> None:
    class Stubborn(Base, name="balances"):
        failures = 2

        async def remove(self) -> None:
            if self.failures:
                self.failures -= 1
                raise ValueError("in use")

    async with running(place, Stubborn) as app:
        await deposit(app, "a", 1)
        projections = app.get(Projections)
        await projections.caught_up("balances")
        await projections.rebuild("balances")
        assert await projections.rebuild("balances", wait=10) == "balances_1_1"
        assert app.get(Stubborn).failures == 0
        assert await document(app, "balances_1_1") == {"made": 1, "a": 1}


async def test_rebuild_that_an_event_stops_raises_the_cause_at_once(place: Place) -> None:
    class Sour(Base, name="balances"):
        broken = False

        @project
        async def deposited(self, event: Deposited) -> None:
            if self.broken:
                raise ValueError("sour")
            await super().deposited(event)

    async with running(place, Sour, attempts=2) as app:
        await deposit(app, "a", 1)
        await app.projections.caught_up("balances")
        app.get(Sour).broken = True
        async with asyncio.timeout(10):
            with pytest.raises(CatgaError, match=r"the rebuild of 'balances' has stopped: .*sour") as raised:
                await app.projections.rebuild("balances", wait=60)
        assert raised.value.code == ErrorCode.HANDLER_FAILED
        app.get(Sour).broken = False
        app.projections.resume("balances")
        assert await app.projections.rebuild("balances", wait=10) == "balances_1_1"


async def test_rebuild_that_is_not_done_in_time_says_what_it_does(place: Place) -> None:
    class Unwilling(Base, name="balances"):
        async def remove(self) -> None:
            raise ValueError("in use")

    async with running(place, Unwilling) as app:
        await deposit(app, "a", 1)
        await app.projections.caught_up("balances")
        with pytest.raises(CatgaError, match=r"goes on: it is [a-z ]+ at position 0 \(.*in use") as raised:
            await app.projections.rebuild("balances", wait=0.5)
        assert raised.value.code == ErrorCode.TIMEOUT


async def test_rebuild_that_nobody_works_for_says_so(place: Place) -> None:
    async with running(place) as app:
        await deposit(app, "a", 1)
        await app.projections.caught_up("balances")
    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running(roles={"admin"}) as tool:
        with pytest.raises(CatgaError, match="a process with the role 'work' does"):
            await tool.projections.rebuild("balances", wait=0.05)


async def test_ordinary_conflict_of_consumers_is_no_error_in_the_log(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(running(place, batch_size=5)) for _ in range(3)]
        await deposit(apps[0], "a", 1, times=30)
        for _ in range(3):
            await apps[0].projections.rebuild("balances", wait=20)
            await asyncio.gather(*(deposit(app, "a", 1, times=5) for app in apps))
        for app in apps:
            await app.projections.caught_up("balances")
    assert [each for each in log if each["log_level"] == "error"] == []
