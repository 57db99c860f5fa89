from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from catga_core import CatgaError, ConcurrencyError, ConfigurationError
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
from catga_core.interfaces import EventData, Storage, StoredEvent
from catga_testing.servers import ValkeyServer
from tests.core.event_sourcing.consuming import (
    Deposited,
    Opened,
    Poison,
    Table,
    container_at,
    deposit,
    document,
    fast,
)
from tests.stores import Place, place_of


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A storage that writes at once, as inline projections require."""
    return place_of(request.param, tmp_path, lambda: "")


@pytest.mark.redis
async def test_a_storage_that_writes_only_at_the_commit_is_refused(
    tmp_path: Path, valkey_server_shared: ValkeyServer
) -> None:
    catga = container_at(place_of("redis", tmp_path, lambda: valkey_server_shared.url))
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    assert not catga.get(Storage).capabilities.immediate
    with pytest.raises(
        ConfigurationError, match=r"'balances' cannot be inline in this storage.*use ProjectionMode.CATCH_UP"
    ):
        async with catga.running():
            pass


class Balances(Projection, name="balances"):
    def __init__(self, table: Table) -> None:
        self.table = table

    @project
    async def deposited(self, event: Deposited, stored: StoredEvent) -> None:
        target = current_projection().target
        await self.table.add(target, event.account, event.amount)
        await self.table.add(f"{target}-where", f"{stored.stream_id}/{stored.version}", stored.position)
        await self.table.add(f"{target}-replay", str(is_replay()), 1)

    @project
    async def poison(self, event: Poison) -> None:
        raise ValueError("cannot be")

    async def reset(self) -> None:
        await self.table.put(current_projection().target, {})

    async def remove(self) -> None:
        await self.table.drop(current_projection().target)


async def test_what_an_append_returns_from_is_projected(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        await app.event_store.append("account-a", [Opened("a"), Deposited("a", 3), Deposited("a", 4)])

        assert await document(app, "balances_1") == {"a": 7}
        assert await document(app, "balances_1-where") == {"account-a/2": 2, "account-a/3": 3}
        assert await document(app, "balances_1-replay") == {"False": 2}


async def test_a_projection_that_fails_fails_the_append(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 3)
        with pytest.raises(
            CatgaError, match="nothing was appended: the inline projection 'balances' failed"
        ) as caught:
            await app.event_store.append("account-a", [Deposited("a", 5), Poison("a")])

        assert caught.value.code == "HANDLER_FAILED"
        assert await app.event_store.version("account-a") == 1
        assert await document(app, "balances_1") == {"a": 3}


async def test_a_projection_that_fails_rolls_back_the_unit_of_work_around_the_append(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        with pytest.raises(CatgaError, match="nothing was appended"):
            async with app.unit_of_work():
                await deposit(app, "a", 3)
                await app.event_store.append("account-b", Poison("b"))

        assert await app.event_store.version("account-a") == 0
        assert await document(app, "balances_1") == {}


async def test_a_conflict_that_is_caught_in_a_unit_of_work_leaves_the_rest_of_it(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        async with app.unit_of_work():
            await deposit(app, "a", 1)
            with pytest.raises(ConcurrencyError):
                await app.event_store.append("account-b", Deposited("b", 1), expected_version=7)
            await deposit(app, "a", 2)

        assert await document(app, "balances_1") == {"a": 3}


async def test_an_append_that_is_tried_again_is_projected_once(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        for _ in range(2):
            await app.event_store.append("account-a", EventData(Deposited("a", 3), message_id="once"))

        assert await document(app, "balances_1") == {"a": 3}


async def test_what_was_appended_before_it_was_added_is_projected_when_the_container_has_started(
    place: Place,
) -> None:
    async with container_at(place).running() as app:
        await deposit(app, "a", 1, times=250)
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        assert await document(app, "balances_1") == {"a": 250}
        await deposit(app, "a", 1)
        assert await document(app, "balances_1") == {"a": 251}
        assert await document(app, "balances_1-replay") == {"True": 250, "False": 1}


async def test_what_was_parked_while_it_was_built_is_replayed(place: Place) -> None:
    class Poisoned(Balances, name="poisoned"):
        broken = True

        @project
        async def poison(self, event: Poison) -> None:
            if self.broken:
                raise ValueError("not yet")
            await self.table.add(current_projection().target, event.account, 1000)

    async with container_at(place).running() as app:
        await app.event_store.append("account-b", Poison("b"))
        await deposit(app, "a", 1)
    catga = container_at(place)
    add_projection(catga, Poisoned, mode=ProjectionMode.INLINE, on_failure=OnFailure.PARK, **fast(attempts=1))
    async with catga.running() as app:
        assert await app.dead_letters.count() == 1
        app.get(Poisoned).broken = False
        again = await app.projections.replay_parked("poisoned")

        assert (again.handled, again.failed) == (1, 0)
        assert await document(app, "poisoned_1") == {"a": 1, "b": 1000}
        await deposit(app, "a", 1)
        assert await document(app, "poisoned_1") == {"a": 2, "b": 1000}
        assert await app.dead_letters.count() == 0


async def test_a_rebuild_loses_no_append_that_happens_meanwhile(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 1, times=300)
        projections = app.get(Projections)
        target = await projections.rebuild("balances")
        count = 300
        while await projections.target("balances") != target:
            await deposit(app, "a", 1)
            count += 1
            # Memory answers at once, so that nobody else would come to their turn.
            await asyncio.sleep(0)
        assert await document(app, target) == {"a": count}
        await deposit(app, "a", 1)
        assert await document(app, target) == {"a": count + 1}
        assert await document(app, "balances_1") == {}
