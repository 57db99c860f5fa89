"""Projections and subscriptions as long-running workers: stopping, outages, speed, health, what is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    ConfigurationError,
    ErrorCode,
    Event,
    add_catga,
)
from catga_core.container import add_stores
from catga_core.event_sourcing.projections import (
    OnFailure,
    Projection,
    ProjectionMode,
    Projections,
    add_projection,
    current_projection,
    project,
)
from catga_core.event_sourcing.subscriptions import Delivery, Subscriptions, add_subscription
from catga_core.interfaces import CheckpointStore, EventLog, RecordedEvent, StoredEvent
from catga_core.memory.stores import memory_stores
from catga_core.messages.context import active_context
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
from tests.core.support import Gate
from tests.stores import Place


async def test_a_handler_ends_before_the_container_stops_and_its_checkpoint_is_kept(place: Place) -> None:
    gate, recorder = Gate(), Recorder()

    async def slow(event: Unasked) -> None:
        if event.number == 2:
            await gate.pass_through()
        recorder.note(event.number)

    for _ in range(2):
        catga = container_at(place)
        add_subscription(catga, "slow", slow, **fast(batch_size=10))
        async with catga.running() as app:
            if not recorder.seen:
                await app.event_store.append("stream", [Unasked(number) for number in range(1, 5)])
                await gate.reached()
                asyncio.get_running_loop().call_later(0.05, gate.open)
            else:
                await app.get(Subscriptions).caught_up("slow")

    assert recorder.seen == [1, 2, 3, 4]


async def test_a_handler_that_does_not_end_is_cancelled_at_the_shutdown_timeout(memory: Place) -> None:
    gate, cancelled = Gate(), asyncio.Event()

    async def endless(event: Unasked) -> None:
        try:
            await gate.pass_through()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    catga = memory.container(shutdown_timeout_seconds=0.2)
    add_subscription(catga, "endless", endless, delivery=Delivery.EXACTLY_ONCE, **fast())
    with pytest.raises(ExceptionGroup) as caught:
        async with catga.running() as app:
            await app.event_store.append("stream", Unasked(1))
            await gate.reached()
    assert isinstance(caught.value.exceptions[0], TimeoutError)
    assert cancelled.is_set()

    async with container_at(memory).running() as app:
        kept = await app.checkpoints.load("subscription:endless")
        assert kept is not None
        assert kept.position == 0, "what was cancelled is not done"


class Away(CatgaError):
    def __init__(self) -> None:
        super().__init__("the storage is away", code=ErrorCode.PERSISTENCE_FAILED)


class FlakyLog:
    """The container's log, which fails to read as long as it is told to."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.away = False
        self.calls = 0

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        self.calls += 1
        if self.away:
            raise Away
        return await self.log.read_all(after=after, limit=limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


async def test_an_outage_of_the_storage_parks_nothing_and_is_waited_for(
    memory: Place, log: list[MutableMapping[str, Any]]
) -> None:
    recorder = Recorder()

    async def listen(event: Unasked) -> None:
        recorder.note(event.number)

    catga = container_at(memory)
    add_subscription(catga, "listener", listen, on_failure=OnFailure.PARK, **fast())
    flaky = FlakyLog(catga.get(EventLog))
    with catga.override(EventLog, flaky):
        async with catga.running() as app:
            subscriptions = app.get(Subscriptions)
            await subscriptions.caught_up("listener")
            flaky.away = True
            await app.event_store.append("stream", Unasked(1))
            await eventually(lambda: subscriptions.health("listener").details["state"] == "retrying")
            assert "the storage is away" in subscriptions.health("listener").description
            calls = flaky.calls
            await asyncio.sleep(0.3)
            assert flaky.calls - calls < 25, "it does not spin"
            flaky.away = False
            await subscriptions.caught_up("listener")
            assert recorder.seen == [1]
            assert await app.dead_letters.count() == 0
    failed = [line for line in log if line["event"] == "catga.subscription_failed"]
    assert failed
    assert all(line["subscription"] == "listener" for line in failed)


async def test_a_handler_that_meets_an_outage_of_the_storage_is_not_to_blame(place: Place) -> None:
    recorder = Recorder()

    async def listen(event: Unasked) -> None:
        recorder.note(event.number)
        if len(recorder.seen) < 8:
            raise Away

    catga = container_at(place)
    add_subscription(catga, "listener", listen, on_failure=OnFailure.PARK, **fast(attempts=2))
    async with catga.running() as app:
        await app.event_store.append("stream", Unasked(1))
        await app.get(Subscriptions).caught_up("listener")
        assert len(recorder.seen) == 8
        assert await app.dead_letters.count() == 0


async def test_ten_thousand_events_are_caught_up_with_in_seconds(place: Place) -> None:
    class Count(Projection, name="count"):
        def __init__(self, table: Table) -> None:
            self.table = table
            self.seen = 0

        @project
        async def deposited(self, event: Deposited) -> None:
            self.seen += 1

    async with container_at(place).running() as app:
        for number in range(20):
            await deposit(app, str(number), 1, times=500)
    catga = container_at(place)
    add_projection(catga, Count, **fast(batch_size=100))
    async with catga.running() as app:
        began = time.perf_counter()
        await app.get(Projections).caught_up("count", timeout=30)
        took = time.perf_counter() - began
        assert app.get(Count).seen == 10_000
        assert took < 20, took


async def test_a_live_projection_handles_what_comes_after_the_start_and_keeps_no_checkpoint(
    place: Place,
) -> None:
    class Live(Projection, name="live"):
        def __init__(self) -> None:
            self.seen: list[int] = []

        @project
        def unasked(self, event: Unasked) -> None:
            self.seen.append(event.number)

    async with container_at(place).running() as app:
        await app.event_store.append("stream", Unasked(1))
    catga = container_at(place)
    add_projection(catga, Live, mode=ProjectionMode.LIVE, **fast())
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(2), Unasked(3)])
        await app.get(Projections).caught_up("live")
        assert app.get(Live).seen == [2, 3]
        assert await app.checkpoints.list() == []


async def test_what_a_handler_appends_continues_the_conversation_of_its_event(place: Place) -> None:
    catga = container_at(place)

    async def react(event: Deposited) -> None:
        context = active_context.get()
        assert context is not None
        await app.event_store.append("reactions", Unasked(event.amount))

    add_subscription(catga, "reaction", react, delivery=Delivery.EXACTLY_ONCE, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 7)
        await app.get(Subscriptions).caught_up("reaction")
        cause = await anext(app.event_store.read("account-a"))
        effect = await anext(app.event_store.read("reactions"))
        assert effect.causation_id == cause.message_id
        assert effect.correlation_id == (cause.correlation_id or cause.message_id)


async def test_an_override_is_seen_by_a_projection_that_runs(place: Place) -> None:
    class Other(Table):
        async def add(self, name: str, key: str, amount: int) -> None:
            await super().add("other", key, amount)

    from tests.core.event_sourcing.test_projections_catch_up import Balances

    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 1)
        await app.get(Projections).caught_up("balances")
        with catga.override(Table, Other):
            await deposit(app, "a", 2)
            await app.get(Projections).caught_up("balances")
        assert await document(app, "balances_1") == {"a": 1}
        assert await document(app, "other") == {"a": 2}


async def test_waiting_ends_with_what_it_waited_for(place: Place) -> None:
    gate = Gate()

    async def slow(event: Unasked) -> None:
        await gate.pass_through()

    catga = container_at(place)
    add_subscription(catga, "slow", slow, **fast())
    async with catga.running() as app:
        subscriptions = app.get(Subscriptions)
        position = (await app.event_store.append("stream", Unasked(1))).position
        await gate.reached()
        with pytest.raises(
            CatgaError, match=r"has not come to position 1 within 0.1 s: it is .* at position 0"
        ) as caught:
            await subscriptions.wait_for("slow", position, timeout=0.1)
        assert caught.value.code == "TIMEOUT"
        gate.open()
        await subscriptions.wait_for("slow", position)
        with pytest.raises(
            CatgaError, match="there is no subscription 'other' in this process: there is 'slow'"
        ):
            await subscriptions.caught_up("other")


async def test_many_events_that_are_not_asked_for_cost_few_checkpoints(memory: Place) -> None:
    saves: list[int] = []

    async def listen(event: Deposited) -> None: ...

    catga = container_at(memory)
    add_subscription(catga, "listener", listen, **fast())

    class Counting:
        def __init__(self, checkpoints: CheckpointStore) -> None:
            self._checkpoints = checkpoints

        async def save(self, name: str, position: int, /, **options: Any) -> None:
            saves.append(position)
            await self._checkpoints.save(name, position, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._checkpoints, name)

    counting = Counting(catga.get(CheckpointStore))
    with catga.override(CheckpointStore, counting):
        async with catga.running() as app:
            await app.get(Subscriptions).caught_up("listener")
            for number in range(200):
                await app.event_store.append("stream", Unasked(number))
            await app.get(Subscriptions).caught_up("listener")
            assert len(saves) < 20
        # All the same it is known where it was.
        assert saves[-1] == 200


def _any(thing: object) -> Any:
    """What a type checker would not let through."""
    return thing


class Nothing(Projection, name="nothing"):
    pass


class Something(Projection, name="something"):
    @project
    def unasked(self, event: Unasked) -> None: ...


class Namesake(Projection, name="something"):
    @project
    def unasked(self, event: Unasked) -> None: ...


class Almost(Projection, name="some.thing"):
    @project
    def unasked(self, event: Unasked) -> None: ...


class AlmostToo(Projection, name="some-thing"):
    @project
    def unasked(self, event: Unasked) -> None: ...


_MODULE = __name__.replace(".", "[.]")
_HERE = r"\(test_projections_running\.py:\d+\)"


@pytest.mark.parametrize(
    ("add", "complaint"),
    [
        (lambda catga: add_projection(catga, Nothing), "has no method with @project"),
        (lambda catga: add_projection(catga, _any(int)), "int is not a projection"),
        (lambda catga: add_projection(catga, Projection), "Projection is not a projection"),
        (lambda catga: add_projection(catga, Something, mode=_any("sometimes")), "has mode='sometimes'"),
        (lambda catga: add_projection(catga, Something, batch_size=0), "has batch_size=0"),
        (lambda catga: add_projection(catga, Something, attempts=0), "has attempts=0"),
        (lambda catga: add_projection(catga, Something, lease_seconds=0), "has lease_seconds=0"),
        (lambda catga: add_projection(catga, Something, on_failure=_any("cry")), "has on_failure='cry'"),
        (lambda catga: add_projection(catga, Something, stream=""), "has stream=''"),
        (
            lambda catga: add_projection(catga, Something, mode=ProjectionMode.INLINE, transactional=False),
            "leave transactional=False out",
        ),
        (
            lambda catga: add_projection(
                catga, Something, mode=ProjectionMode.LIVE, on_failure=OnFailure.PARK
            ),
            "is live, separately in each process, and has on_failure=OnFailure.PARK",
        ),
        (
            lambda catga: list(map(add_projection, [catga] * 2, [Something] * 2)),
            f"'something' is there already: {_MODULE}.Something {_HERE} was added twice",
        ),
        (
            lambda catga: list(map(add_projection, [catga] * 2, [Something, Namesake])),
            f"'something' is there already: {_MODULE}.Something {_HERE} and {_MODULE}.Namesake {_HERE} both have that name",
        ),
        (
            lambda catga: list(map(add_projection, [catga] * 2, [Almost, AlmostToo])),
            f"'some-thing' of {_MODULE}.AlmostToo {_HERE} has almost the same name as 'some.thing' of {_MODULE}.Almost {_HERE}",
        ),
        (
            lambda catga: _add_beside(catga, "projection_something"),
            "needs a provider called 'projection_something', which is taken",
        ),
        (lambda catga: add_subscription(catga, "a b", _listen), "'a b' cannot be the name of a subscription"),
        (lambda catga: add_subscription(catga, "s", 7), "7 cannot handle the events of a subscription"),
        (lambda catga: add_subscription(catga, "s", Nothing), "Nothing cannot handle the events"),
        (lambda catga: add_projection(catga, Something, mode=_any([])), "has mode=\\[\\]: there are Proj"),
        (lambda catga: add_projection(catga, Something, stream=_any(3)), "has stream=3: give a glob"),
        (lambda catga: add_projection(catga, Something, transactional=_any([])), "has transactional=\\[\\]"),
        (lambda catga: add_projection(catga, Something, on_failure=_any([])), "has on_failure=\\[\\]"),
        (lambda catga: add_subscription(catga, "s", _listen, stream=_any(3)), "has stream=3: give a glob"),
        (lambda catga: add_subscription(catga, "s", _listen, events=_any(Deposited)), "has events=Deposited"),
        (lambda catga: add_subscription(catga, "s", _listen, partitions=0), "has partitions=0"),
        (lambda catga: add_subscription(catga, "s", _listen, start=-1), "has start=-1"),
        (lambda catga: add_subscription(catga, "s", _listen, delivery=_any("never")), "has delivery='never'"),
        (lambda catga: add_subscription(catga, "s", _listen, events=[Deposited]), "has Deposited in events="),
        (lambda catga: add_subscription(catga, "s", _listen, events=[]), "has events=\\[\\]"),
        (lambda catga: add_subscription(catga, "s", _takes_nothing), "takes no event"),
        (
            lambda catga: list(map(add_subscription, [catga] * 2, ["a.b", "a-b"], [_listen] * 2)),
            f"'a-b' of {_MODULE}._listen {_HERE} has almost the same name as 'a.b' of {_MODULE}._listen {_HERE}",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_added(add: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        add(add_catga(CatgaOptions()))


def _add_beside(catga: CatgaContainer, taken: str) -> None:
    catga.add_singleton(Recorder, name=taken)
    add_projection(catga, Something)


async def _listen(event: Unasked) -> None: ...


async def _takes_nothing() -> None: ...


def test_a_projection_s_class_is_checked_when_it_is_made() -> None:
    with pytest.raises(ConfigurationError, match="versions are whole numbers from 1"):

        class Wrong(Projection, version=0):
            pass

    with pytest.raises(ConfigurationError, match="two methods with @project for Unasked"):

        class Twice(Projection):
            @project
            def one(self, event: Unasked) -> None: ...

            @project
            def two(self, event: Unasked, stored: StoredEvent) -> None: ...


def test_current_projection_is_only_there_in_a_projection() -> None:
    with pytest.raises(LookupError, match="outside of a projection"):
        current_projection()


class Unregistered(Event):
    pass


async def test_a_base_class_stands_for_its_subclasses(place: Place) -> None:
    class AccountEvent(Event):
        account: str

    class Renamed(AccountEvent):
        pass

    class Closed(AccountEvent):
        pass

    recorder = Recorder()

    async def listen(event: AccountEvent) -> None:
        recorder.note(type(event).__name__)

    catga = container_at(place)
    add_subscription(catga, "listener", listen, **fast())
    async with catga.running() as app:
        await app.event_store.append("stream", [Renamed("a"), Unasked(1), Closed("a")])
        await app.get(Subscriptions).caught_up("listener")
    assert recorder.seen == ["Renamed", "Closed"]


async def test_checkpoints_that_are_not_where_the_units_of_work_are_are_refused(place: Place) -> None:
    for add in (
        lambda catga: add_projection(catga, Something),
        lambda catga: add_subscription(catga, "s", _listen, delivery=Delivery.EXACTLY_ONCE),
    ):
        catga = container_at(place)
        add_stores(catga, memory_stores, [EventLog], name="elsewhere")
        add(catga)
        with pytest.raises(ConfigurationError, match="one storage"):
            async with catga.running():
                pass
