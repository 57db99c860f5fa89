"""A consumer that gets its lease late asks again whether its work is still wanted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from catga_core import CatgaApp, LeaseLostError
from catga_core.event_sourcing.consumers import (
    ConsumerOptions,
    ConsumerPorts,
    ConsumerWork,
    LogLosses,
    OnFailure,
    Progress,
    replay_parked,
)
from catga_core.event_sourcing.consumers.session import Session
from catga_core.event_sourcing.projections import Projection, add_projection, current_projection, project
from catga_core.event_sourcing.projections.catch_up import CatchUpWorker
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.interfaces import StoredEvent
from catga_core.interfaces.named_values import NamedValueConflictError, NamedValueStore
from catga_core.runtime.unit_of_work import open_unit_of_work
from catga_core.runtime.worker import Worker
from catga_testing.waiting import eventually
from tests.core.event_sourcing.consuming import (
    Poison,
    Recorder,
    Table,
    Unasked,
    container_at,
    deposit,
    fast,
)
from tests.stores import Place


async def _nothing(_stored: StoredEvent) -> None: ...


async def _from_the_beginning() -> int:
    return 0


async def test_claim_of_work_that_ended_meanwhile_is_refused(place: Place) -> None:
    async def confirm() -> None:
        raise NamedValueConflictError("generation", 1, 2)

    work = ConsumerWork(
        name="late",
        kind="projection",
        key="late",
        wants=lambda _: True,
        handle=_nothing,
        start=_from_the_beginning,
        losses=LogLosses("projection", "late"),
        confirm=confirm,
    )
    async with container_at(place).running() as app:
        await app.checkpoints.save("late", 5, fencing_token=1)
        ports = app.get(ConsumerPorts)
        worker = Worker("late", lambda: _turn(), every=None, clock=ports.clock)
        session = Session(ports, work, ConsumerOptions(), Progress("late"), worker, 2)
        with pytest.raises(LeaseLostError):
            await session.claim()
        kept = await app.checkpoints.load("late")
    assert kept is not None
    assert (kept.position, kept.fencing_token) == (5, 1), "the process that goes on keeps its lease"


async def _turn() -> bool:
    return False


async def test_switch_handles_no_more_events_together_than_batch_size(place: Place) -> None:
    together: dict[int, list[int]] = {}

    class Counted(Projection, name="counted"):
        def __init__(self, table: Table) -> None:
            self.table = table

        @project
        async def happened(self, event: Unasked) -> None:
            if current_projection().target == "counted_1_1":
                unit = open_unit_of_work()
                while unit is not None and unit.outer is not None:
                    unit = unit.outer
                together.setdefault(id(unit), []).append(event.number)
                units.append(unit)

        async def reset(self) -> None: ...

    units: list[Any] = []  # kept, so that no two have one id
    catga = container_at(place)
    add_projection(catga, Counted, **fast(batch_size=3))
    async with catga.running() as app:
        for number in range(40):
            await app.event_store.append("numbers", Unasked(number))
        await app.projections.caught_up("counted")
        await app.projections.rebuild("counted", wait=10)
    # More than once where a unit of work was rolled back.
    assert {number for batch in together.values() for number in batch} == set(range(40))
    assert max(map(len, together.values())) <= 3


async def test_partitions_of_another_number_end_a_consumer_that_comes_back(memory: Place) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    def state(app: CatgaApp) -> Any:
        return app.subscriptions.health("shared").details["state"]

    catga = container_at(memory)
    add_subscription(catga, "shared", note, partitions=2, **fast())
    async with catga.running() as app:
        await app.event_store.append("stream", Unasked(1))
        await app.subscriptions.caught_up("shared")
        # As other processes do that run it with four partitions while this one stands still.
        await app.get(NamedValueStore).set("subscription:shared:partitions", 4)
        for each in await app.checkpoints.list():
            await app.checkpoints.delete(each.name)
        await app.event_store.append("stream", Unasked(2))
        await eventually(lambda: state(app) == "superseded")
        said = app.subscriptions.health("shared").description
        assert "another number of partitions" in said
        assert [each.name for each in await app.checkpoints.list()] == []


async def test_parked_event_of_a_replaced_generation_is_not_replayed(place: Place) -> None:
    handled: list[str] = []

    class Failing(Projection, name="failing"):
        @project
        async def poison(self, event: Poison) -> None:
            handled.append(event.account)
            if len(handled) == 1:
                raise ValueError("no")

    async def no_longer() -> bool:
        return False

    catga = container_at(place)
    add_projection(
        catga, Failing, transactional=False, **fast(on_failure=OnFailure.PARK, attempts=1, batch_size=1)
    )
    async with catga.running() as app:
        await app.event_store.append("account-p", Poison("p"))
        await app.projections.caught_up("failing")
        worker = app.projections.worker("failing")
        assert isinstance(worker, CatchUpWorker)
        work = next(iter(worker._running.values())).work.for_parked
        late = msgspec.structs.replace(work, still_wanted=no_longer)
        outcome = await replay_parked(app.get(ConsumerPorts), "failing", lambda _: late)
        assert (outcome.handled, outcome.failed, handled) == (0, 0, ["p"])
        await deposit(app, "a")
        assert (await app.projections.replay_parked("failing")).handled == 1
