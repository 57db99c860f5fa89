"""Where consumers keep what is not a checkpoint: generations and partition counts as named values, members as memberships."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from catga_core import CatgaContainer, ConfigurationError
from catga_core.container import add_stores
from catga_core.event_sourcing.projections import Projection, ProjectionMode, add_projection, project
from catga_core.event_sourcing.projections.generations import Generation, Generations
from catga_core.event_sourcing.subscriptions import Delivery, add_subscription
from catga_core.interfaces import CheckpointStore, LockProvider, Storage, Stores
from catga_core.interfaces.memberships import MembershipStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.stores import stores_of
from catga_core.memory.stores import MemoryCheckpointStore, MemoryStorage, memory_stores
from catga_testing import ManualClock
from tests.core.event_sourcing.consuming import Deposited, Recorder, Unasked, container_at, deposit, fast
from tests.stores import Place


class Total(Projection, name="total"):
    async def reset(self) -> None: ...

    @project
    def deposited(self, event: Deposited) -> None: ...


async def listen(event: Deposited) -> None: ...


async def test_every_checkpoint_is_the_position_of_a_consumer(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Total, **fast())
    add_subscription(catga, "shared", listen, partitions=2, **fast())
    async with catga.running() as app:
        position = await deposit(app, "a", 1, times=3)
        await app.projections.caught_up("total")
        await app.projections.rebuild("total", wait=10)
        await app.projections.caught_up("total")
        await app.subscriptions.caught_up("shared")
    async with container_at(place).running() as app:
        kept = {each.name: each.position for each in await app.checkpoints.list()}
        values = await app.get(NamedValueStore).list()
        members = await app.get(MembershipStore).members("subscription:shared")

    assert kept == {
        "projection:total:1.1": position,
        "subscription:shared:1/2": position,
        "subscription:shared:2/2": position,
    }
    assert values["projection:total"] == values["projection:total:rebuild"] == Generation(1, 1).number
    assert values["subscription:shared:partitions"] == 2
    assert members == [], "a process that stops leaves the group"


async def test_living_process_is_a_member_of_its_subscription(place: Place) -> None:
    catga = container_at(place)
    add_subscription(catga, "shared", listen, partitions=2, **fast())
    async with catga.running() as app:
        await deposit(app, "a")
        await app.subscriptions.caught_up("shared")
        assert len(await app.get(MembershipStore).members("subscription:shared")) == 1


async def test_generations_are_found_by_the_checkpoints_alone(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Total, **fast())
    async with catga.running() as app, container_at(place).running() as tool:
        await deposit(app, "a")
        await app.projections.caught_up("total")
        generations = Generations("total", tool.checkpoints)
        assert await generations.active() == Generation(1, 0)
        await generations.ask_for(Generation(1, 1))
        await app.projections.rebuild("total", wait=10)
        assert await generations.active() == Generation(1, 1)


def test_checkpoints_of_an_unknown_storage_name_no_generations() -> None:
    checkpoints = MemoryCheckpointStore(MemoryStorage(), ManualClock())
    assert stores_of(checkpoints) is None
    with pytest.raises(ConfigurationError, match="Pass the NamedValueStore of the same storage"):
        Generations("total", checkpoints)


def test_stores_are_found_by_one_of_them() -> None:
    stores = memory_stores()
    assert stores_of(stores[CheckpointStore]) is stores
    assert stores_of(object()) is None
    # An object without weak references is left out.
    assert CheckpointStore in Stores(MemoryStorage(), {CheckpointStore: _Slotted()})


class _Slotted:
    __slots__ = ()


def transactional(catga: CatgaContainer) -> None:
    add_projection(catga, Total)


def at_least_once(catga: CatgaContainer) -> None:
    add_projection(catga, Total, transactional=False)


def inline(catga: CatgaContainer) -> None:
    add_projection(catga, Total, mode=ProjectionMode.INLINE)


def partitioned(catga: CatgaContainer) -> None:
    add_subscription(catga, "s", listen, partitions=2)


def exactly_once(catga: CatgaContainer) -> None:
    add_subscription(catga, "s", listen, delivery=Delivery.EXACTLY_ONCE)


@pytest.mark.parametrize(
    ("add", "elsewhere", "named"),
    [
        (transactional, [NamedValueStore], "NamedValueStore"),
        (at_least_once, [CheckpointStore, LockProvider], "NamedValueStore"),
        (inline, [NamedValueStore], "NamedValueStore"),
        (partitioned, [MembershipStore], "MembershipStore"),
        (exactly_once, [CheckpointStore, NamedValueStore], "Storage"),
    ],
)
async def test_state_in_two_storages_is_refused(
    memory: Place, add: Callable[[CatgaContainer], None], elsewhere: Collection[Any], named: str
) -> None:
    catga = container_at(memory)
    # The storage of the units of work stays the first one: it is registered again after the other one.
    unit_of_work = catga.registered(Storage)
    add_stores(catga, memory_stores, [*elsewhere], name="elsewhere")
    assert unit_of_work is not None
    catga.register(unit_of_work)
    add(catga)
    with pytest.raises(ConfigurationError, match=f"needs .*{named}.* in ElsewhereStorage"):
        async with catga.running():
            pass


async def test_number_of_partitions_may_change_when_the_checkpoints_are_deleted(place: Place) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    for partitions in (1, 2):
        catga = container_at(place)
        add_subscription(catga, "shared", note, partitions=partitions, **fast())
        async with catga.running() as app:
            if partitions == 1:
                await app.event_store.append("stream", Unasked(1))
            await app.subscriptions.caught_up("shared")
        async with container_at(place).running() as app:
            for each in await app.checkpoints.list():
                await app.checkpoints.delete(each.name)

    assert recorder.seen == [1, 1]
