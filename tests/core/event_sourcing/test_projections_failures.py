"""What becomes of an event that a projection or a subscription cannot handle."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, MutableMapping
from contextvars import Context
from typing import Any

import pytest

from catga_core import CatgaApp, CatgaError, ConcurrencyError, Event, HealthStatus
from catga_core.errors import LeaseLostError
from catga_core.event_sourcing.projections import (
    OnFailure,
    Projection,
    Projections,
    add_projection,
    current_projection,
    is_replay,
    project,
)
from catga_core.event_sourcing.subscriptions import Delivery, Subscriptions, add_subscription
from catga_core.interfaces import (
    DeadLetterFilter,
    DeadLetterSource,
    EventRecord,
    Storage,
    StoredEvent,
    StreamAppend,
)
from catga_core.reliability import DeadLetterQueue
from catga_testing import ManualClock
from catga_testing.waiting import eventually
from tests.core.event_sourcing.consuming import (
    Deposited,
    Opened,
    Poison,
    Recorder,
    Table,
    Unasked,
    container_at,
    deposit,
    document,
    fast,
)
from tests.stores import Place


class Balances(Projection, name="balances"):
    """Fails for poison as long as it is not mended."""

    error: BaseException | None
    calls: int
    replays: list[bool]

    def __init__(self, table: Table) -> None:
        self.table = table
        self.error = ValueError("cannot be")
        self.calls = 0
        self.replays = []

    @project
    async def deposited(self, event: Deposited) -> None:
        await self.table.add(current_projection().target, event.account, event.amount)

    @project
    async def poison(self, event: Poison) -> None:
        # What is written before the failure must not stay.
        await self.table.add(current_projection().target, event.account, 1000)
        self.calls += 1
        self.replays.append(is_replay())
        if self.error is not None:
            raise self.error


async def poisoned(app: CatgaApp) -> int:
    """Append events with poison among them; return the poison's position."""
    await deposit(app, "a", 1, times=3)
    position = (await app.event_store.append("account-b", Poison("b"))).position
    await deposit(app, "a", 1, times=3)
    return position


async def test_by_default_it_stops_at_the_event_and_tells_why(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    # All there before it is followed, so that it is one batch.
    async with container_at(place).running() as app:
        position = await poisoned(app)
    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        projections = app.get(Projections)
        with pytest.raises(CatgaError, match="will not come to position") as caught:
            await projections.caught_up("balances")

        assert caught.value.code == "HANDLER_FAILED"
        assert "Poison at position 4 of stream 'account-b' failed: ValueError: cannot be" in str(caught.value)
        assert await document(app, "balances_1") == {"a": 3}
        # Three times, where they are handled alone; else once in the batch, and then alone.
        assert app.get(Balances).calls == (4 if app.get(Storage).capabilities.immediate else 3)
        # How far the log is, is known from the last look at it.
        await eventually(lambda: app.health()["projection_balances"].details["lag"] == 4)
        health = app.health()["projection_balances"]
        assert health.status is HealthStatus.UNHEALTHY
        assert (health.details["state"], health.details["position"]) == ("stopped", position - 1)
        stopped = [line for line in log if line["event"] == "catga.projection_stopped"]
        assert [(line["projection"], line["position"], line["log_level"]) for line in stopped] == [
            ("balances", position, "error")
        ]


async def test_the_log_shows_the_error_that_stopped_it_once(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    class Lookup(Projection, name="lookup"):
        @project
        def poison(self, event: Poison) -> None:
            empty: dict[str, int] = {}
            empty[event.account] += 1

    # All there before it is followed, so that it fails in a batch first where there are any.
    async with container_at(place).running() as app:
        await app.event_store.append("account-b", [Poison("b"), Poison("c")])
    catga = container_at(place)
    add_projection(catga, Lookup, **fast())
    async with catga.running() as app:
        with pytest.raises(CatgaError, match="will not come to position"):
            await app.get(Projections).caught_up("lookup")

    (stopped,) = [line for line in log if line["event"] == "catga.projection_stopped"]
    assert stopped["stack"].count("Traceback (most recent call last)") == 1
    assert stopped["stack"].rstrip().endswith("KeyError: 'b'")


async def test_what_has_stopped_goes_on_with_the_same_event_when_it_is_resumed(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        await poisoned(app)
        projections = app.get(Projections)
        with pytest.raises(CatgaError, match="will not come"):
            await projections.caught_up("balances")
        app.get(Balances).error = None
        projections.resume("balances")
        await eventually(lambda: projections.caught_up("balances"))
        await eventually(lambda: projections.health("balances").details["state"] == "running")

        assert await document(app, "balances_1") == {"a": 6, "b": 1000}
        assert projections.health("balances").status is HealthStatus.HEALTHY


async def test_what_has_stopped_goes_on_after_a_restart(place: Place) -> None:
    for _ in range(2):
        catga = container_at(place)
        add_projection(catga, Balances, **fast())
        async with catga.running() as app:
            if await app.event_store.log.head() == 0:
                await poisoned(app)
                with pytest.raises(CatgaError, match="will not come"):
                    await app.get(Projections).caught_up("balances")
            else:
                app.get(Balances).error = None
                app.get(Projections).resume("balances")
                await eventually(lambda: app.get(Projections).caught_up("balances"))
                assert await document(app, "balances_1") == {"a": 6, "b": 1000}


async def test_a_parked_event_is_a_dead_letter_and_what_comes_after_it_is_handled(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        position = await poisoned(app)
        await app.get(Projections).caught_up("balances")

        assert await document(app, "balances_1") == {"a": 6}
        page = await app.dead_letters.find(DeadLetterFilter(source=DeadLetterSource.PROJECTION))
        (letter,) = page.letters
        stored = await anext(app.event_store.read("account-b"))
        assert (letter.handler, letter.name, letter.schema_version) == ("balances", "Poison", 1)
        assert letter.data == stored.data
        assert letter.context.message_id == stored.message_id
        assert (letter.code, letter.message, letter.attempts) == (
            "HANDLER_FAILED",
            "ValueError: cannot be",
            3,
        )
        assert "cannot be" in (letter.traceback or "")
        health = app.health()["projection_balances"]
        assert (health.status, health.details["parked"]) == (HealthStatus.DEGRADED, 1)
        assert "1 parked events wait" in health.description
        parked = [line for line in log if line["event"] == "catga.event_parked"]
        assert [(line["position"], line["log_level"]) for line in parked] == [(position, "error")]


async def test_parked_events_are_replayed_marked_as_replay(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        await poisoned(app)
        projections, balances = app.get(Projections), app.get(Balances)
        await projections.caught_up("balances")

        again = await projections.replay_parked("balances")
        assert (again.handled, again.failed) == (0, 1)
        (letter,) = (await app.dead_letters.find()).letters
        assert (letter.attempts, letter.replays) == (4, 1)
        assert await document(app, "balances_1") == {"a": 6}

        balances.error = None
        again = await projections.replay_parked("balances")
        assert (again.handled, again.failed) == (1, 0)
        assert await app.dead_letters.count() == 0
        assert await document(app, "balances_1") == {"a": 6, "b": 1000}
        assert balances.replays[-2:] == [True, True]
        assert not any(balances.replays[:-2])
        assert projections.health("balances").status is HealthStatus.HEALTHY


async def test_an_admin_process_replays_what_another_process_has_parked(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running(roles={"work"}) as working:
        await poisoned(working)
        await working.projections.caught_up("balances")

        admin = container_at(place)
        add_projection(admin, Balances, on_failure=OnFailure.PARK, **fast())
        async with admin.running(roles={"admin"}) as app:
            app.get(Balances).error = None
            again = await app.projections.replay_parked("balances")

            assert (again.handled, again.failed) == (1, 0)
            assert await app.dead_letters.count() == 0
            assert await document(app, "balances_1") == {"a": 6, "b": 1000}
        # The process whose lease was taken over for the replay works on.
        await deposit(working, "c", 5)
        await working.projections.caught_up("balances")
        assert (await document(working, "balances_1"))["c"] == 5


async def test_the_dead_letter_queue_replays_parked_events_by_their_projection(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        await poisoned(app)
        await app.projections.caught_up("balances")
        (letter,) = (await app.dead_letters.find()).letters
        queue = app.get(DeadLetterQueue)
        assert letter.key == "account-b"

        again = await queue.replay(letter.id)
        assert again.error.code == "HANDLER_FAILED"
        (updated,) = (await app.dead_letters.find()).letters
        assert (updated.replays, updated.attempts) == (1, letter.attempts + 1)

        app.get(Balances).error = None
        dry = await queue.replay(letter.id, dry_run=True)
        assert dry.result.is_success
        assert await document(app, "balances_1") == {"a": 6}
        assert (await app.dead_letters.find()).letters == [updated]

        assert (await queue.replay_all()).succeeded == 1
        assert await document(app, "balances_1") == {"a": 6, "b": 1000}
        assert await queue.count() == 0
        assert app.health()["projection_balances"].status is HealthStatus.HEALTHY
        # The projection, whose checkpoint was taken over, goes on.
        await deposit(app, "c", 5)
        await app.projections.caught_up("balances")
        assert (await document(app, "balances_1"))["c"] == 5


async def test_many_parked_events_are_replayed_by_stream_while_the_projection_works(place: Place) -> None:
    streams = [f"account-{number}" for number in range(4)]
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        for _ in range(5):
            for stream in streams:
                await app.event_store.append(stream, Poison(stream))
        await app.projections.caught_up("balances")
        queue = app.get(DeadLetterQueue)
        assert await queue.count() == 20
        app.get(Balances).error = None

        async def deposits() -> None:
            for _ in range(10):
                await deposit(app, "a", 1)

        report, _ = await asyncio.gather(queue.replay_all(max_concurrent=4), deposits())

        assert (report.succeeded, report.failed) == (20, {})
        await app.projections.caught_up("balances", timeout=15)
        assert await document(app, "balances_1") == {"a": 10, **dict.fromkeys(streams, 5000)}


async def test_a_parked_event_stays_where_its_projection_is_not_registered(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        await poisoned(app)
        await app.projections.caught_up("balances")
    async with container_at(place).running() as other:
        (letter,) = (await other.dead_letters.find()).letters

        refused = await other.get(DeadLetterQueue).replay(letter.id)

        assert refused.error.code == "HANDLER_NOT_FOUND"
        assert "this process does not have it" in refused.error.message
        assert (await other.dead_letters.find()).letters == [letter], "it does not count as a replay"


async def test_two_who_replay_at_once_handle_a_parked_event_once(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        await poisoned(app)
        projections = app.get(Projections)
        await projections.caught_up("balances")
        app.get(Balances).error = None

        outcomes = await asyncio.gather(*(projections.replay_parked("balances") for _ in range(3)))

        assert sum(each.handled for each in outcomes) == 1
        assert sum(each.failed for each in outcomes) == 0
        assert await document(app, "balances_1") == {"a": 6, "b": 1000}


async def test_a_replay_and_the_events_that_come_meanwhile_do_not_write_over_each_other(place: Place) -> None:
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None

    class Sum(Projection, name="sum"):
        def __init__(self, table: Table) -> None:
            self.table = table

        @project
        async def deposited(self, event: Deposited) -> None:
            nonlocal meanwhile
            if event.amount == 100 and not is_replay():
                raise ValueError("no")
            target = current_projection().target
            known = (await self.table.get(target) or {}).get("sum", 0)
            if is_replay() and meanwhile is not None:
                between, meanwhile = meanwhile(), None
                # Somebody else's: in no unit of work of ours.
                await asyncio.create_task(between, context=Context())
            await self.table.put(target, {"sum": known + event.amount})

    catga = container_at(place)
    add_projection(catga, Sum, on_failure=OnFailure.PARK, **fast(attempts=1))
    async with catga.running() as app:
        projections = app.projections
        await deposit(app, "a", 1)
        await deposit(app, "a", 100)
        await projections.caught_up("sum")

        async def another() -> None:
            await deposit(app, "a", 10)
            await projections.caught_up("sum")

        meanwhile = another
        again = await projections.replay_parked("sum")

        assert (again.handled, again.failed) == (1, 0)
        assert await document(app, "sum_1") == {"sum": 111}
        await deposit(app, "a", 1000)
        await projections.caught_up("sum")
        assert await document(app, "sum_1") == {"sum": 1111}


async def test_a_skipped_event_is_counted_and_logged(
    place: Place, log: list[MutableMapping[str, Any]]
) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.SKIP, **fast())
    async with catga.running() as app:
        position = await poisoned(app)
        await app.get(Projections).caught_up("balances")

        assert await document(app, "balances_1") == {"a": 6}
        assert await app.dead_letters.count() == 0
        assert app.health()["projection_balances"].details["skipped"] == 1
        skipped = [line for line in log if line["event"] == "catga.event_skipped"]
        assert [(line["position"], line["name"]) for line in skipped] == [(position, "Poison")]


async def test_a_failure_that_goes_away_is_tried_again_after_growing_pauses_of_the_clock(
    memory: Place,
) -> None:
    clock = ManualClock()
    times: list[float] = []

    async def listen(event: Unasked) -> None:
        times.append(clock.monotonic())
        if len(times) < 4:
            raise ValueError("not yet")

    catga = container_at(memory, clock)
    add_subscription(
        catga,
        "listener",
        listen,
        attempts=5,
        retry_delay_seconds=1.0,
        max_retry_delay_seconds=2.0,
        poll_seconds=0.05,
    )
    async with catga.running() as app:
        await app.event_store.append("stream", Unasked(1))
        await eventually(lambda: len(times) == 1)
        assert "not yet" in app.health()["subscription_listener"].description
        assert app.health()["subscription_listener"].status is HealthStatus.DEGRADED
        while len(times) < 4:
            # One keeps the lease, one keeps the membership, the third pauses.
            await eventually(lambda: len(clock.sleepers) == 3 or len(times) == 4, every=0.001)
            clock.advance(0.25)
        await app.get(Subscriptions).caught_up("listener")
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(
            low <= pause <= high
            for pause, (low, high) in zip(pauses, [(0.5, 1.25), (1, 2.25), (1, 2.25)], strict=True)
        ), pauses
        assert app.health()["subscription_listener"].status is HealthStatus.HEALTHY
        assert await app.dead_letters.count() == 0


async def test_an_error_that_is_not_retryable_is_not_tried_again(place: Place) -> None:
    calls: list[int] = []

    async def listen(event: Unasked) -> None:
        calls.append(event.number)
        raise CatgaError("never", code="VALIDATION_FAILED")

    catga = container_at(place)
    add_subscription(catga, "listener", listen, on_failure=OnFailure.PARK, **fast(attempts=10))
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(1), Unasked(2)])
        await app.get(Subscriptions).caught_up("listener")

        assert calls == [1, 2]
        letters = (await app.dead_letters.find()).letters
        assert [(each.code, each.message, each.attempts) for each in letters] == [
            ("VALIDATION_FAILED", "never", 1)
        ] * 2


@pytest.mark.parametrize("delivery", [Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
async def test_a_subscription_parks_and_replays_as_well(place: Place, delivery: Delivery) -> None:
    broken = True
    seen: list[int] = []

    async def listen(event: Unasked) -> None:
        if broken and event.number == 2:
            raise ValueError("no")
        seen.append(event.number)

    catga = container_at(place)
    add_subscription(
        catga,
        "listener",
        listen,
        delivery=delivery,
        on_failure=OnFailure.PARK,
        **fast(attempts=1, batch_size=1),
    )
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(1), Unasked(2), Unasked(3)])
        subscriptions = app.get(Subscriptions)
        await subscriptions.caught_up("listener")
        assert seen == [1, 3]
        broken = False
        assert (await subscriptions.replay_parked("listener")).handled == 1
        assert seen == [1, 3, 2]
        assert await app.dead_letters.count() == 0


@pytest.mark.parametrize("delivery", [Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
@pytest.mark.parametrize(
    "error", [ConcurrencyError("other", 1, 2), LeaseLostError("the lock 'mine'", "its time ran out")]
)
async def test_a_conflict_and_a_lost_lease_of_the_handler_s_own_are_failures_of_the_event(
    place: Place, delivery: Delivery, error: CatgaError
) -> None:
    seen: list[int] = []

    async def listen(event: Unasked) -> None:
        if event.number == 1:
            raise error
        seen.append(event.number)

    catga = container_at(place)
    # The very first event: its checkpoint is as that of one who has lost it to somebody that begins anew.
    add_subscription(
        catga, "listener", listen, delivery=delivery, on_failure=OnFailure.PARK, **fast(attempts=2)
    )
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(1), Unasked(2)])
        subscriptions = app.get(Subscriptions)
        await subscriptions.caught_up("listener")
        assert seen == [2]
        (letter,) = (await app.dead_letters.find()).letters
        assert (letter.code, letter.message) == (error.code, error.message)
        replayed = await subscriptions.replay_parked("listener")
        assert (replayed.handled, replayed.failed) == (0, 1)


async def test_without_a_unit_of_work_what_was_handled_before_a_failure_is_not_handled_again(
    place: Place,
) -> None:
    seen: list[int] = []

    async def listen(event: Unasked) -> None:
        if event.number == 3 and seen.count(3) < 2:
            seen.append(3)
            raise ValueError("not yet")
        seen.append(event.number)

    catga = container_at(place)
    add_subscription(catga, "listener", listen, **fast(batch_size=10))
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(number) for number in range(1, 6)])
        await app.get(Subscriptions).caught_up("listener")

    assert seen == [1, 2, 3, 3, 3, 4, 5]


async def test_a_handler_that_cancels_itself_has_failed(place: Place) -> None:
    seen: list[int] = []

    async def listen(event: Unasked) -> None:
        seen.append(event.number)
        if event.number == 1:
            raise asyncio.CancelledError

    catga = container_at(place)
    add_subscription(catga, "listener", listen, on_failure=OnFailure.PARK, **fast(attempts=1))
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(1), Unasked(2)])
        await app.get(Subscriptions).caught_up("listener")

        assert seen == [1, 2]
        (letter,) = (await app.dead_letters.find()).letters
        assert "cancelled from within" in letter.message


@pytest.mark.parametrize("delivery", [Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_handler_that_cancels_its_task_has_failed(
    place: Place, delivery: Delivery, number: int
) -> None:
    """The subscription goes on by its policy, also after several of them."""
    seen: list[int] = []

    async def listen(event: Unasked) -> None:
        await asyncio.sleep(0)
        if event.number >= number:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(30)
        seen.append(event.number)

    catga = container_at(place)
    options = {"on_failure": OnFailure.PARK, "delivery": delivery, **fast(attempts=2)}
    add_subscription(catga, "listener", listen, **options)
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(each) for each in (1, 2, 3)])
        await app.get(Subscriptions).caught_up("listener")
        letters = (await app.dead_letters.find()).letters
        health = app.health()["subscription_listener"]
        await app.event_store.append("stream", Unasked(0))
        await app.get(Subscriptions).caught_up("listener")

    assert sorted(set(seen)) == [*range(number)]
    assert len(letters) == 4 - number
    assert all("cancelled from within" in letter.message for letter in letters)
    assert health.details["parked"] == 4 - number


async def test_handler_that_cancels_its_task_and_returns_does_not_end_its_subscription(place: Place) -> None:
    seen: list[int] = []

    async def listen(event: Unasked) -> None:
        seen.append(event.number)
        task = asyncio.current_task()
        assert task is not None
        if seen.count(event.number) == 1:
            task.cancel()

    catga = container_at(place)
    add_subscription(catga, "listener", listen, **fast(attempts=5))
    async with catga.running() as app:
        await app.event_store.append("stream", [Unasked(each) for each in (1, 2, 3)])
        await app.get(Subscriptions).caught_up("listener")

    assert sorted(set(seen)) == [1, 2, 3]


async def append_raw(
    app: CatgaApp, name: str, *, version: int = 1, data: bytes = b"\x81\xa7account\xa1x"
) -> None:
    record = EventRecord(f"raw-{name}-{version}", name, version, "msgpack", data, 0)
    await app.event_store.log.append([StreamAppend("raw", -1, [record])])


async def test_an_event_of_an_unknown_type_that_is_not_asked_for_is_passed_over_undecoded(
    place: Place,
) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        await append_raw(app, "NobodyKnows", data=b"\xff")
        await deposit(app, "a")
        await app.get(Projections).caught_up("balances")

        assert await document(app, "balances_1") == {"a": 1}


@pytest.mark.parametrize(("version", "data"), [(7, b"\x81\xa7account\xa1x"), (1, b"\xff")])
async def test_an_event_of_a_name_that_is_asked_for_and_cannot_be_decoded_fails(
    place: Place, version: int, data: bytes
) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, on_failure=OnFailure.PARK, **fast())
    async with catga.running() as app:
        await append_raw(app, "Deposited", version=version, data=data)
        await deposit(app, "a")
        await app.get(Projections).caught_up("balances")

        assert await document(app, "balances_1") == {"a": 1}
        (letter,) = (await app.dead_letters.find()).letters
        assert (letter.code, letter.name, letter.schema_version) == (
            "SERIALIZATION_FAILED",
            "Deposited",
            version,
        )
        assert letter.attempts == 1, "what cannot be read now cannot be read a moment later"


async def test_who_asks_for_all_events_fails_for_one_of_an_unknown_type(place: Place) -> None:
    recorder = Recorder()

    async def listen(event: Event, stored: StoredEvent) -> None:
        recorder.note(stored.name)

    catga = container_at(place)
    add_subscription(catga, "all", listen, **fast())
    async with catga.running() as app:
        await app.event_store.append("account-a", Opened("a"))
        await append_raw(app, "NobodyKnows")
        with pytest.raises(CatgaError, match="no class named NobodyKnows v1 is known"):
            await app.get(Subscriptions).caught_up("all")

    assert recorder.seen == ["Opened"]
