"""The log loses its end while consumers run: by a lossy failover, a restored backup, a restart without data."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import msgspec
import pytest

from catga_core import (
    CatgaApp,
    CatgaContainer,
    CatgaError,
    ConfigurationError,
    ErrorCode,
    HealthStatus,
    add_catga,
)
from catga_core.clock import Clock
from catga_core.container import add_stores
from catga_core.event_sourcing.projections import (
    OnLogLoss,
    Projection,
    ProjectionMode,
    add_projection,
    current_projection,
    project,
)
from catga_core.event_sourcing.subscriptions import Delivery, Start, add_subscription
from catga_core.interfaces import Stores
from catga_core.log import LOG_END_LOST
from catga_core.memory.engine.table import Table as Rows
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_core.memory.stores.event_log import _Log  # pyright: ignore[reportPrivateUsage]
from catga_testing.waiting import eventually
from tests.core.event_sourcing.consuming import Recorder, Table, Unasked, document, fast
from tests.core.support import Gate

Lines = list[MutableMapping[str, Any]]


class Lossy(msgspec.Struct):
    """A storage in memory that can lose its last writes."""

    storage: MemoryStorage
    backup: dict[type[Any], dict[Any, Any]] = {}
    kept: int = 0

    def container(self) -> CatgaContainer:
        def make(clock: Clock) -> Stores:
            return memory_stores(clock, self.storage)

        catga = add_catga()
        add_stores(catga, make, MEMORY_PORTS, name="memory")
        catga.add_singleton(Table)
        return catga

    def back_up(self) -> None:
        self.kept = self.storage.part(_Log).committed
        self.backup = {cls: dict(part._rows) for cls, part in self._tables()}

    def lose_log(self) -> None:
        """As where checkpoints and effects are in another storage."""
        log = self.storage.part(_Log)
        log.committed = self.kept
        log.roll_back()

    def lose_all(self) -> None:
        """As a failover to a replica that has not received the last writes."""
        self.lose_log()
        for cls, part in self._tables():
            part._rows.clear()
            part._rows.update(self.backup.get(cls, {}))

    def _tables(self) -> list[tuple[type[Any], Any]]:
        return [(cls, part) for cls, part in self.storage._parts.items() if isinstance(part, Rows)]


@pytest.fixture
def lossy() -> Lossy:
    return Lossy(MemoryStorage())


async def append(app: CatgaApp, *numbers: int) -> int:
    position = 0
    for number in numbers:
        position = (await app.event_store.append("numbers", Unasked(number))).position
    return position


class Numbers(Projection, name="numbers"):
    """Keeps every number that it has handled, by target."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @project
    async def happened(self, event: Unasked) -> None:
        await self.table.add(current_projection().target, str(event.number), 1)

    async def reset(self) -> None:
        await self.table.drop(current_projection().target)

    async def remove(self) -> None:
        await self.table.drop(current_projection().target)


def once(*numbers: int) -> dict[str, int]:
    return dict.fromkeys(map(str, numbers), 1)


@pytest.mark.parametrize("more", [3, 10, 30], ids=["fewer", "as many", "more"])
@pytest.mark.parametrize("delivery", [Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
async def test_subscription_handles_what_is_appended_in_place_of_lost_events(
    lossy: Lossy, log: Lines, delivery: Delivery, more: int
) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    catga = lossy.container()
    add_subscription(catga, "numbers", note, delivery=delivery, **fast())
    async with catga.running() as app:
        await append(app, *range(5))
        await app.subscriptions.caught_up("numbers")
        lossy.back_up()
        await append(app, *range(100, 110))
        await app.subscriptions.caught_up("numbers")
        lossy.lose_all()
        new = list(range(200, 200 + more))
        await append(app, *new)
        await app.subscriptions.caught_up("numbers")

        assert recorder.seen == [*range(5), *range(100, 110), *new]
        health = app.subscriptions.health("numbers")
        assert health.status is HealthStatus.DEGRADED
        assert "has lost" in health.description
        assert "continues from its checkpoint" in health.description
        assert health.details["log_losses"] == 1
        assert [each["subscription"] for each in log if each["event"] == LOG_END_LOST] == ["numbers"]
        app.subscriptions.resume("numbers")
        assert app.subscriptions.health("numbers").status is HealthStatus.HEALTHY


@pytest.mark.parametrize("partitions", [1, 3])
async def test_log_that_starts_again_empty_is_handled_from_its_first_event(
    lossy: Lossy, partitions: int
) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    catga = lossy.container()
    add_subscription(catga, "numbers", note, partitions=partitions, **fast())
    add_projection(catga, Numbers, **fast())
    async with catga.running() as app:
        await append(app, *range(10))
        await app.subscriptions.caught_up("numbers")
        await app.projections.caught_up("numbers")
        lossy.lose_all()
        assert await app.event_store.log.head() == 0
        await append(app, 20, 21, 22)
        await app.subscriptions.caught_up("numbers")
        assert recorder.seen == [*range(10), 20, 21, 22]

        async def is_counted() -> bool:
            return await document(app, "numbers_1") == once(20, 21, 22)

        await eventually(is_counted)
        await eventually(lambda: "has lost" in app.projections.health("numbers").description)


async def test_projection_that_went_back_with_the_log_counts_what_the_log_has(lossy: Lossy) -> None:
    catga = lossy.container()
    add_projection(catga, Numbers, **fast())
    async with catga.running() as app:
        await append(app, 1, 2)
        await app.projections.caught_up("numbers")
        lossy.back_up()
        await append(app, 3, 4, 5)
        await app.projections.caught_up("numbers")
        lossy.lose_all()
        await append(app, 6, 7, 8, 9)
        await app.projections.caught_up("numbers")
        assert await document(app, "numbers_1") == once(1, 2, 6, 7, 8, 9)
        assert app.projections.health("numbers").status is HealthStatus.DEGRADED


async def test_consumer_whose_checkpoint_stayed_stops_and_continues_when_resumed(lossy: Lossy) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    def state() -> Any:
        return app.subscriptions.health("numbers").details["state"]

    catga = lossy.container()
    add_subscription(catga, "numbers", note, **fast())
    async with catga.running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4)
        await app.subscriptions.caught_up("numbers")
        lossy.lose_log()
        position = await append(app, 5, 6, 7)
        await eventually(lambda: state() == "stopped")
        health = app.subscriptions.health("numbers")
        assert health.status is HealthStatus.UNHEALTHY
        assert "the log has lost the event at position 4 (another event is there)" in health.description
        with pytest.raises(CatgaError, match="will not come to position") as raised:
            await app.subscriptions.wait_for("numbers", position)
        assert raised.value.code == ErrorCode.HANDLER_FAILED
        assert recorder.seen == [1, 2, 3, 4]

        app.subscriptions.resume("numbers")
        await app.subscriptions.caught_up("numbers")
        assert recorder.seen == [1, 2, 3, 4, 5, 6, 7]
        assert "continues after position 2" in app.subscriptions.health("numbers").description


async def test_consumer_that_is_started_after_the_loss_notices_it(lossy: Lossy) -> None:
    async def note(event: Unasked) -> None: ...

    def compose() -> CatgaContainer:
        catga = lossy.container()
        add_subscription(catga, "numbers", note, **fast())
        return catga

    async with compose().running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4)
        await app.subscriptions.caught_up("numbers")
    lossy.lose_log()
    async with compose().running() as app:
        await append(app, 5, 6, 7)
        await eventually(lambda: app.subscriptions.health("numbers").details["state"] == "stopped")


async def test_continue_goes_on_after_the_log_end_where_nothing_else_is_known(lossy: Lossy) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    def compose() -> CatgaContainer:
        catga = lossy.container()
        add_subscription(catga, "numbers", note, on_log_loss=OnLogLoss.CONTINUE, **fast())
        return catga

    async with compose().running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4)
        await app.subscriptions.caught_up("numbers")
    lossy.lose_log()
    # Nothing in this process has read the log before.
    async with lossy.container().running() as other:
        await append(other, 5, 6, 7)
    async with compose().running() as app:
        await app.subscriptions.caught_up("numbers")
        await append(app, 8)
        await app.subscriptions.caught_up("numbers")
        assert recorder.seen == [1, 2, 3, 4, 8]
        assert "continues after position 5" in app.subscriptions.health("numbers").description


@pytest.mark.parametrize("more", [1, 6])
async def test_rebuild_policy_builds_a_projection_again_from_the_log(lossy: Lossy, more: int) -> None:
    catga = lossy.container()
    add_projection(catga, Numbers, on_log_loss=OnLogLoss.REBUILD, **fast())
    async with catga.running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4, 5)
        await app.projections.caught_up("numbers")
        lossy.lose_log()
        new = list(range(10, 10 + more))
        await append(app, *new)

        async def is_switched() -> bool:
            return bool(await app.projections.target("numbers") == "numbers_1_1")

        await eventually(is_switched)
        await app.projections.caught_up("numbers")
        assert await document(app, "numbers_1_1") == once(1, 2, *new)
        await append(app, 99)
        await app.projections.caught_up("numbers")
        assert await document(app, "numbers_1_1") == once(1, 2, *new, 99)
        health = app.projections.health("numbers")
        assert (health.details["state"], health.status) == ("running", HealthStatus.DEGRADED)


@pytest.mark.parametrize("more", [1, 6])
async def test_stopped_projection_is_rebuilt_on_request(lossy: Lossy, more: int) -> None:
    catga = lossy.container()
    add_projection(catga, Numbers, **fast())
    async with catga.running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4, 5)
        await app.projections.caught_up("numbers")
        lossy.lose_log()
        new = list(range(10, 10 + more))
        await append(app, *new)
        await eventually(lambda: app.projections.health("numbers").status is HealthStatus.UNHEALTHY)
        assert await app.projections.rebuild("numbers", wait=10) == "numbers_1_1"
        await append(app, 99)
        await app.projections.caught_up("numbers")
        assert await document(app, "numbers_1_1") == once(1, 2, *new, 99)
        app.projections.resume("numbers")
        assert app.projections.health("numbers").status is HealthStatus.HEALTHY


async def test_rebuild_under_way_begins_again_where_the_log_has_lost_its_end(lossy: Lossy) -> None:
    gate = Gate()

    class Slow(Numbers, name="numbers"):
        @project
        async def happened(self, event: Unasked) -> None:
            if current_projection().target == "numbers_1_1" and event.number == 4:
                await gate.pass_through()
            await self.table.add(current_projection().target, str(event.number), 1)

    catga = lossy.container()
    add_projection(catga, Slow, on_log_loss=OnLogLoss.REBUILD, **fast(batch_size=1))
    async with catga.running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4, 5)
        await app.projections.caught_up("numbers")
        await app.projections.rebuild("numbers")
        await gate.reached()
        lossy.lose_log()
        await append(app, 6, 7, 8, 9)
        gate.open()

        async def is_counted() -> bool:
            target = await app.projections.target("numbers")
            return target == "numbers_1_1" and await document(app, target) == once(1, 2, 6, 7, 8, 9)

        await eventually(is_counted)


@pytest.mark.parametrize("more", [1, 3, 9])
async def test_projection_in_memory_is_built_again(lossy: Lossy, more: int) -> None:
    class Memory(Projection, name="memory"):
        def __init__(self) -> None:
            self.seen: list[int] = []

        @project
        def happened(self, event: Unasked) -> None:
            self.seen.append(event.number)

        async def reset(self) -> None:
            self.seen.clear()

    catga = lossy.container()
    add_projection(catga, Memory, mode=ProjectionMode.IN_MEMORY, **fast())
    async with catga.running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        await append(app, 3, 4, 5)
        await app.projections.caught_up("memory")
        lossy.lose_log()
        new = list(range(10, 10 + more))
        await append(app, *new)
        await app.projections.caught_up("memory")
        assert app.get(Memory).seen == [1, 2, *new]
        assert "begins again at the first event" in app.projections.health("memory").description


@pytest.mark.parametrize("more", [1, 3, 9])
async def test_live_projection_gets_what_is_appended_after_the_loss(lossy: Lossy, more: int) -> None:
    recorder = Recorder()

    class Live(Projection, name="live"):
        @project
        def happened(self, event: Unasked) -> None:
            recorder.note(event.number)

    catga = lossy.container()
    add_projection(catga, Live, mode=ProjectionMode.LIVE, **fast())
    async with lossy.container().running() as before:
        await append(before, 1, 2)
        lossy.back_up()
    async with catga.running() as app:
        await append(app, 3, 4, 5)
        await app.projections.caught_up("live")
        lossy.lose_log()
        new = list(range(10, 10 + more))
        await append(app, *new)
        await app.projections.caught_up("live")
        assert recorder.seen == [3, 4, 5, *new]
        assert app.projections.health("live").status is HealthStatus.DEGRADED


async def test_inline_projection_reports_that_the_log_has_lost_its_end(lossy: Lossy) -> None:
    catga = lossy.container()
    add_projection(catga, Numbers, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        await append(app, 1, 2)
        lossy.back_up()
        last = await append(app, 3, 4)
        await eventually(lambda: app.projections.health("numbers").details["position"] == last)
        lossy.lose_all()
        await append(app, 5, 6, 7)
        await eventually(lambda: "has lost" in app.projections.health("numbers").description)
        assert await document(app, "numbers_1") == once(1, 2, 5, 6, 7)
        assert app.projections.health("numbers").status is HealthStatus.DEGRADED


async def test_standby_shows_a_checkpoint_whose_event_is_lost(lossy: Lossy) -> None:
    async def note(event: Unasked) -> None: ...

    def says_it(app: CatgaApp) -> bool:
        health = app.subscriptions.health("numbers")
        return health.status is not HealthStatus.HEALTHY and "has lost the event at" in health.description

    def compose() -> CatgaContainer:
        catga = lossy.container()
        add_subscription(catga, "numbers", note, **fast())
        return catga

    async with compose().running() as first:
        await append(first, 1, 2)
        lossy.back_up()
        await append(first, 3, 4)
        await first.subscriptions.caught_up("numbers")
        async with compose().running() as second:
            await eventually(lambda: second.subscriptions.health("numbers").details["position"] == 4)
            lossy.lose_log()
            await eventually(lambda: says_it(first) and says_it(second))


async def test_wait_for_a_position_that_was_given_again_waits_for_its_event(lossy: Lossy) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    catga = lossy.container()
    # Rarely looked at by itself: the wait has to find out.
    add_subscription(catga, "numbers", note, **fast(poll_seconds=0.5))
    async with catga.running() as app:
        await append(app, 1)
        await app.subscriptions.caught_up("numbers")
        lossy.back_up()
        await append(app, 2, 3, 4)
        await app.subscriptions.caught_up("numbers")
        lossy.lose_all()
        position = await append(app, 5)
        assert position == 2
        await app.subscriptions.wait_for("numbers", position)
        assert recorder.seen == [1, 2, 3, 4, 5]


async def test_start_now_is_found_lost_by_its_position_alone(lossy: Lossy) -> None:
    recorder = Recorder()

    async def note(event: Unasked) -> None:
        recorder.note(event.number)

    async with lossy.container().running() as app:
        await append(app, 1)
        lossy.back_up()
        await append(app, 2, 3)
    catga = lossy.container()
    add_subscription(catga, "numbers", note, start=Start.NOW, on_log_loss=OnLogLoss.CONTINUE, **fast())
    async with catga.running() as app:
        await app.subscriptions.caught_up("numbers")
        await eventually(lambda: app.subscriptions.health("numbers").details["state"] == "running")
        lossy.lose_log()
        await append(app, 5, 6, 7, 8)
        await eventually(
            lambda: "continues after position 5" in app.subscriptions.health("numbers").description
        )
        await append(app, 9)
        await app.subscriptions.caught_up("numbers")
        assert recorder.seen == [9]


async def test_policy_that_is_not_possible_is_refused(lossy: Lossy) -> None:
    class Plain(Projection, name="plain"):
        @project
        def happened(self, event: Unasked) -> None: ...

    async def note(event: Unasked) -> None: ...

    catga = lossy.container()
    wrong: Any = "later"
    with pytest.raises(ConfigurationError, match="on_log_loss='later'; expected one of"):
        add_subscription(catga, "one", note, on_log_loss=wrong)
    with pytest.raises(ConfigurationError, match="which is for projections"):
        add_subscription(catga, "two", note, on_log_loss=OnLogLoss.REBUILD)
    with pytest.raises(ConfigurationError, match="Plain has no reset"):
        add_projection(catga, Plain, on_log_loss=OnLogLoss.REBUILD)
    with pytest.raises(ConfigurationError, match="is live"):
        add_projection(catga, Plain, mode=ProjectionMode.LIVE, on_log_loss=OnLogLoss.REBUILD)
