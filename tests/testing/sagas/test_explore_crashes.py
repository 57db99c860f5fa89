"""`explore_crashes`: the right saga passes, planted faults are found, and the shortest failing history is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, Clock, Command, Event, current_context
from catga_core.errors import ConfigurationError
from catga_core.runtime import RetryPolicy
from catga_core.sagas import Saga, SagaContext, SagaResult, SagaState, saga
from catga_testing import ExplorationError, ExplorationReport, SagaWorld, explore_crashes
from tests.testing.sagas.planted import FOUND, NOT_FOUND, MissingCompensation, StepNotIdempotent
from tests.testing.sagas.shop import OrderSaga, PlacedOrder, Shop, everything_adds_up

# Thousands of runs take seconds, on a machine that does nothing else.
pytestmark = pytest.mark.timeout(300)


def explored(saga: type[OrderSaga], world: type[Shop] = Shop, **options: Any) -> ExplorationReport:
    return explore_crashes(
        saga, PlacedOrder(), world=world, invariant=everything_adds_up, check=False, **options
    )


def test_right_saga_passes_every_crash_and_pair() -> None:
    report = explored(OrderSaga)

    assert str(report).endswith(" 0 failed"), report
    assert report.complete
    assert report.runs > 2000
    assert report.crash_points > 10


@pytest.mark.parametrize("name", FOUND)
def test_planted_fault_is_found(name: str) -> None:
    report = explored(*FOUND[name])

    assert report.shortest is not None, report
    assert not report.complete


@pytest.mark.parametrize("name", NOT_FOUND)
def test_planted_fault_that_the_docs_name_is_not_found(name: str) -> None:
    # Where this fails, tell the docs.
    assert not explored(*NOT_FOUND[name], faults=1).failures


def test_shortest_history_is_a_timeline() -> None:
    with pytest.raises(ExplorationError) as raised:
        explore_crashes(StepNotIdempotent, PlacedOrder(), world=Shop, invariant=everything_adds_up)

    text = str(raised.value)
    assert "injected: step 'charge' has its effect, but the answer is lost\n" in text
    assert "process 1 !! step 'charge': the answer is lost" in text
    assert text.count("payments.charge_without_key(Decimal('105.01'))") == 2
    assert text.endswith("the invariant does not hold: charged 210.02, refunded 0")
    assert raised.value.report.shortest is not None
    assert len(raised.value.report.shortest.faults) == 1


def test_runs_are_the_same_each_time() -> None:
    first, second = explored(MissingCompensation), explored(MissingCompensation)

    assert (first.runs, first.timeline) == (second.runs, second.timeline)


async def test_explores_within_a_running_loop() -> None:
    assert explored(StepNotIdempotent).failures


def test_runs_are_bounded() -> None:
    report = explored(OrderSaga, max_runs=30)

    assert (report.runs, report.complete) == (30, False)
    assert "ended by max_runs" in str(report)


def test_no_faults_are_injected_where_none_is_asked_for() -> None:
    # The run without faults, and each step that fails for good.
    assert explored(OrderSaga, faults=0).runs == 6


def test_cancellations_are_explored_where_asked() -> None:
    states: set[SagaState] = set()

    def check(shop: Shop, result: SagaResult[str]) -> None:
        states.add(result.state)
        everything_adds_up(shop, result)

    explore_crashes(OrderSaga, PlacedOrder(), world=Shop, invariant=check, faults=1)
    assert SagaState.CANCELLED not in states

    explore_crashes(OrderSaga, PlacedOrder(), world=Shop, invariant=check, faults=1, cancel=True)
    assert SagaState.CANCELLED in states

    failures = explored(MissingCompensation, faults=1, cancel=True).failures
    assert any("the saga is cancelled after" in each.timeline for each in failures)


# --- waits, children, limits ---


class Paid(Event):
    order_id: str
    cents: int


class Ask(Command[None]):
    order_id: str


@saga(waits_for={Paid: lambda event: event.order_id})
class PaidLater(Saga[str, int]):
    async def execute(self, data: str, saga: SagaContext) -> int:
        await saga.send("ask", Ask(data))
        paid = await saga.wait_for(Paid, key=data, timeout=timedelta(days=30))
        await saga.sleep(timedelta(days=10))
        return paid.cents


class Payer(SagaWorld):
    answers = True

    def __init__(self) -> None:
        self.asked = 0

    def handlers(self) -> Sequence[Callable[..., Any]]:
        return [self.ask]

    async def ask(self, command: Ask) -> None:
        def ask() -> None:
            self.asked += 1
            if self.answers:
                self.publish(Paid(command.order_id, 7), after=86_400)

        self.once(ask)


class SilentPayer(Payer):
    answers = False


def paid_once(world: Payer, result: SagaResult[int]) -> None:
    assert world.asked <= 1
    if result.is_success:
        assert result.value == 7


def test_long_waits_take_virtual_time() -> None:
    report = explore_crashes(PaidLater, "order-1", world=Payer, invariant=paid_once)

    assert report.complete
    assert report.runs > 20


def test_event_that_never_comes_ends_the_wait() -> None:
    with pytest.raises(ExplorationError, match="ends as compensated: TIMEOUT"):
        explore_crashes(PaidLater, "order-1", world=SilentPayer, invariant=paid_once)

    explore_crashes(
        PaidLater,
        "order-1",
        world=SilentPayer,
        invariant=paid_once,
        ends=SagaState.COMPENSATED,
    )


@saga(waits_for={Paid: lambda event: event.order_id})
class WaitsForGood(Saga[str, int]):
    async def execute(self, data: str, saga: SagaContext) -> int:
        return (await saga.wait_for(Paid, key=data)).cents


def test_saga_that_waits_for_good_is_reported() -> None:
    with pytest.raises(ExplorationError, match="waits for an event that was not published"):
        explore_crashes(WaitsForGood, "order-1", world=SagaWorld, invariant=lambda _world, _result: None)


class Counter(SagaWorld):
    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def add(self, count: int) -> None:
        self.done[current_context().message_id] = count

    def take(self, count: int) -> None:
        self.done[current_context().message_id] = -count


class Part(Saga[int, int]):
    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    async def execute(self, data: int, saga: SagaContext) -> int:
        await saga.step("add", lambda: self.counter.add(data), compensate=lambda _: self.counter.take(data))
        return data


class Whole(Saga[int, int]):
    def __init__(self, counter: Counter, clock: Clock) -> None:
        self.counter = counter
        self.clock = clock

    async def execute(self, data: int, saga: SagaContext) -> int:
        first = await saga.saga("first", Part, data)
        second = await saga.saga("second", Part, data + 1)
        return await saga.step("sum", lambda: self.both(first, second))

    def both(self, first: int, second: int) -> int:
        assert self.clock.time() > 0
        return first + second

    async def compensate(self, data: int) -> None:
        self.counter.add(0)


class Counters(SagaWorld):
    def __init__(self) -> None:
        self.counter = Counter()


def all_or_nothing(world: Counters, result: SagaResult[int]) -> bool:
    return sum(world.counter.done.values()) == (7 if result.is_success else 0)


def test_children_are_explored_with_their_parent() -> None:
    report = explore_crashes(Whole, 3, world=Counters, invariant=all_or_nothing, sagas=[Part], max_runs=400)

    assert report.runs == 400 or report.complete


def test_child_that_is_not_compensated_is_found() -> None:
    class Careless(Part):
        async def execute(self, data: int, saga: SagaContext) -> int:
            await saga.step("add", lambda: self.counter.add(data))
            return data

    class Around(Whole):
        async def execute(self, data: int, saga: SagaContext) -> int:
            first = await saga.saga("first", Careless, data)
            second = await saga.saga("second", Careless, data + 1)
            return await saga.step("sum", lambda: first + second)

    report = explore_crashes(
        Around, 3, world=Counters, invariant=all_or_nothing, sagas=[Careless], check=False
    )

    assert report.shortest is not None


class Endless(Saga[int, int]):
    async def execute(self, data: int, saga: SagaContext) -> int:
        while True:
            await saga.step("again", lambda: None)


def test_saga_without_an_end_is_reported() -> None:
    with pytest.raises(ExplorationError, match="does not end"):
        explore_crashes(Endless, 1, world=SagaWorld, invariant=lambda _world, _result: None)


class OneAttempt(Saga[int, None]):
    """A step that must not be tried again, whose answer may be lost: it is not, as nothing could be done about it."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    async def execute(self, data: int, saga: SagaContext) -> None:
        await saga.step(
            "add",
            lambda: self.counter.add(data),
            compensate=lambda _: self.counter.take(data),
            retry=RetryPolicy(max_attempts=1),
        )


def test_answers_of_steps_that_are_not_retried_are_not_lost() -> None:
    explore_crashes(
        OneAttempt,
        1,
        world=Counters,
        invariant=lambda world, result: sum(world.counter.done.values()) == result.is_success,
    )


async def refuses(_world: object, _result: object) -> None:
    raise AssertionError("no")


@pytest.mark.parametrize("invariant", [refuses, lambda _world, _result: False])
def test_invariant_may_be_asynchronous_or_return_false(invariant: Any) -> None:
    with pytest.raises(ExplorationError, match="invariant does not hold"):
        explore_crashes(OneAttempt, 1, world=Counters, invariant=invariant)


class Unhandled(Saga[int, None]):
    async def execute(self, data: int, saga: SagaContext) -> None:
        await saga.send("ask", Ask("order-1"))


def test_command_without_a_handler_is_reported() -> None:
    with pytest.raises(ExplorationError, match="HANDLER_NOT_FOUND"):
        explore_crashes(Unhandled, 1, world=SagaWorld, invariant=lambda _world, _result: None)


def test_missing_service_is_a_configuration_error() -> None:
    report = explore_crashes(
        OneAttempt, 1, world=SagaWorld, invariant=lambda _world, _result: None, check=False
    )

    assert "the world has no attribute of that name" in report.timeline


def test_world_publishes_only_in_a_run() -> None:
    with pytest.raises(RuntimeError, match="outside of a run"):
        SagaWorld().publish(Paid("order-1", 1))


def test_handler_without_the_class_of_its_message_is_refused() -> None:
    class Wrong(SagaWorld):
        def handlers(self) -> Sequence[Callable[..., Any]]:
            return [lambda command: None]

    with pytest.raises(TypeError, match="Annotate"):
        explore_crashes(Unhandled, 1, world=Wrong, invariant=lambda _world, _result: None)


class Refusing(Saga[int, None]):
    async def execute(self, data: int, saga: SagaContext) -> None:
        raise CatgaError("closed", code="CLOSED")


def test_saga_that_fails_without_a_fault_is_reported() -> None:
    with pytest.raises(ExplorationError, match="without any fault the saga ends as compensated: CLOSED"):
        explore_crashes(Refusing, 1, world=SagaWorld, invariant=lambda _world, _result: None)


class Plain(msgspec.Struct):
    count: int = 0


def test_what_is_no_saga_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        explore_crashes(Plain, 1, world=SagaWorld, invariant=lambda _world, _result: None)  # type: ignore[arg-type]  # on purpose
