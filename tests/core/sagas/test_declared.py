"""Declared sagas: parts as data, run on the same journal, checked when they are composed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, CatgaOptions, Command, Event, add_catga, sagas
from catga_core.errors import ConfigurationError, DeclarationError
from catga_core.sagas import (
    SagaContext,
    SagaDefinition,
    SagaExecutor,
    SagaPart,
    SagaState,
    SagaValues,
    add_sagas,
    child,
    commit_point,
    parallel,
    publish,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)
from catga_testing.waiting import eventually
from tests.core.sagas.replicas import Data, Process, Replicas, saga_of


@dataclass
class Trade:
    order_id: str
    amount: int = 0
    fails_at: str = ""


class Money(msgspec.Struct, frozen=True):
    receipt: str
    amount: int


class TakeMoney(Command[Money]):
    order_id: str
    amount: int
    currency: str = "EUR"


class GiveBack(Command[None]):
    receipt: str
    order_id: str


class SetAside(Command[str]):
    order_id: str
    fails_at: str


class PutBack(Command[None]):
    text: str


class SendOff(Command[str]):
    text: str


class TradeSettled(Event):
    order_id: str
    amount: int


class TradeDone(Event):
    order_id: str


class Desk:
    """Handles the commands, and notes them."""

    def __init__(self, effects: list[str]) -> None:
        self.effects = effects

    def prepare(self, catga: Any) -> None:
        effects = self.effects

        async def take_money(message: TakeMoney) -> Money:
            effects.append(f"take {message.amount} {message.currency}")
            return Money(f"receipt of {message.order_id}", message.amount)

        async def give_back(message: GiveBack) -> None:
            effects.append(f"give back {message.receipt} of {message.order_id}")

        async def set_aside(message: SetAside) -> str:
            if message.fails_at == "set aside":
                raise CatgaError("none left", code="NONE_LEFT")
            effects.append("set aside")
            return f"box of {message.order_id}"

        async def put_back(message: PutBack) -> None:
            effects.append(f"put back {message.text}")

        async def send_off(message: SendOff) -> str:
            if message.text == "fails":
                raise CatgaError("no stamps", code="NO_STAMPS")
            effects.append(f"send {message.text}")
            return message.text.upper()

        async def done(message: TradeDone) -> None:
            effects.append(f"done {message.order_id}")

        catga.add_handlers(take_money, give_back, set_aside, put_back, send_off, done)


async def start(
    replicas: Replicas, *definitions: SagaDefinition[Any, Any], dies_at: float | None = None
) -> Process:
    return await replicas.start(*definitions, dies_at=dies_at, prepare=Desk(replicas.effects).prepare)


def put_back(_values: SagaValues[Trade], box: str) -> PutBack:
    return PutBack(box)


def send(text: str) -> Callable[[SagaValues[Trade]], SendOff]:
    return lambda _values: SendOff(text)


async def test_a_declared_saga_returns_what_its_steps_give(replicas: Replicas) -> None:
    trade = SagaDefinition(
        "trade",
        step("take", TakeMoney, compensate=GiveBack),
        step("set aside", lambda values: SetAside(values.data.order_id, "")),
        step("send", lambda values: SendOff(f"{values['set aside']} to {values.transaction_id}")),
        data=Trade,
        returns=lambda values: f"{values['send']}, {values['take'].receipt}",
        result=str,
    )
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1", 12), trade, timeout=5)

    assert result.state is SagaState.COMPLETED
    assert result.value == "BOX OF O-1 TO TRADE-1, receipt of o-1"
    assert [each.name for each in result.steps] == ["take", "set aside", "send"]
    assert replicas.effects == ["take 12 EUR", "set aside", "send box of o-1 to trade-1"]


async def test_a_result_may_be_that_of_a_named_step(replicas: Replicas) -> None:
    trade = SagaDefinition("trade", step("take", TakeMoney), data=Trade, returns="take")
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1", 12), trade, timeout=5)
    again = await process.executor.result("trade-1", timeout=5)

    assert result.value == again.value == Money("receipt of o-1", 12)


async def test_a_failed_step_compensates_those_before_it_in_reverse(replicas: Replicas) -> None:
    trade = SagaDefinition(
        "trade",
        step("take", TakeMoney, compensate=GiveBack),
        step("box", lambda values: SetAside(values.data.order_id, ""), compensate=put_back),
        step("send", send("fails")),
        data=Trade,
    )
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1", 12), trade, timeout=5)

    assert result.state is SagaState.COMPENSATED
    assert result.error is not None
    assert result.error.code == "NO_STAMPS"
    # The receipt is a field of the result, the order's id one of the command.
    assert replicas.effects[-2:] == ["put back box of o-1", "give back receipt of o-1 of o-1"]


async def test_another_process_goes_on_with_a_declared_saga(replicas: Replicas) -> None:
    def trade() -> SagaDefinition[Trade, str]:
        return SagaDefinition(
            "trade",
            step("take", TakeMoney, compensate=GiveBack),
            when(lambda values: values["take"].amount > 10, step("box", SetAside, compensate=put_back)),
            step("send", lambda values: SendOff(values["box"])),
            data=Trade,
            returns=lambda values: f"{values['send']} {values['take'].amount}",
            result=str,
        )

    first_trade, second_trade = trade(), trade()
    # The writes: begin, take, box.
    first = await start(replicas, first_trade, dies_at=3.5)
    await first.executor.start("trade-1", Trade("o-1", 12), first_trade)
    await eventually(lambda: first.store.dead)
    second = await start(replicas, second_trade)
    await replicas.clock.run_for(31)

    result = await second.executor.result("trade-1", timeout=5)

    assert result.value == "BOX OF O-1 12"
    assert replicas.effects.count("take 12 EUR") == replicas.effects.count("set aside") == 1


@pytest.mark.parametrize(("amount", "sent"), [(5, ["send less"]), (50, ["send more", "send end"])])
async def test_a_condition_chooses_its_parts(replicas: Replicas, amount: int, sent: list[str]) -> None:
    trade = SagaDefinition(
        "trade",
        when(
            lambda values: values.data.amount > 10,
            step("more", send("more")),
            step("end", send("end")),
            otherwise=[step("less", send("less"))],
        ),
        data=Trade,
        returns=lambda values: values.get("more", "none"),
        result=str,
    )
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1", amount), trade, timeout=5)

    assert result.value == ("MORE" if amount > 10 else "none")
    assert replicas.effects == sent


async def test_branches_run_at_the_same_time_and_give_their_results_together(replicas: Replicas) -> None:
    seen: list[tuple[str, ...]] = []

    def last(values: SagaValues[Trade]) -> SendOff:
        seen.append(tuple(values))
        return SendOff("c")

    trade = SagaDefinition(
        "trade",
        step("first", send("first")),
        parallel(
            sequence(step("a", send("a")), step("b", send("b"))),
            step("c", last),
        ),
        data=Trade,
        returns=lambda values: " ".join(values[name] for name in ("first", "a", "b", "c")),
        result=str,
    )
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1"), trade, timeout=5)

    assert result.value == "FIRST A B C"
    assert seen == [("first",)]
    branches = {each.name: each.branch for each in result.steps}
    assert branches == {"first": "", "a": "0.0/", "b": "0.0/", "c": "0.1/"}


async def test_a_declared_saga_waits_for_an_event_and_a_time(replicas: Replicas) -> None:
    trade = SagaDefinition(
        "trade",
        wait_for(TradeSettled, key="order_id", timeout=timedelta(days=30), name="settled"),
        sleep(60),
        sleep(lambda values: values["settled"].amount),
        publish("tell", TradeDone),
        data=Trade,
        returns=lambda values: values["settled"].amount,
        result=int,
    )
    process = await start(replicas, trade)
    await process.executor.start("trade-1", Trade("o-1"), trade)
    await process.app.mediator.publish(TradeSettled("o-2", 1))
    await process.app.mediator.publish(TradeSettled("o-1", 30))

    began = replicas.clock.time()
    while not (await process.executor.status("trade-1")).state.is_final:
        await replicas.clock.run_for(5)
    result = await process.executor.result("trade-1", timeout=5)

    assert result.value == 30
    assert replicas.clock.time() - began >= 90
    assert replicas.effects == ["done o-1"]


async def test_a_child_may_be_declared_and_may_have_a_declared_parent(replicas: Replicas) -> None:
    async def execute(data: Data, saga: SagaContext) -> str:
        return await saga.saga("inner", inner, Trade(data.note))

    inner = SagaDefinition("inner", step("send", SendOff_of_order), data=Trade, returns="send", result=str)
    middle = saga_of(execute, name="middle")
    outer = SagaDefinition(
        "outer",
        child("middle", middle, lambda values: Data(note=values.data.order_id)),
        data=Trade,
        returns="middle",
        result=str,
    )
    process = await replicas.start(inner, middle, outer, prepare=Desk(replicas.effects).prepare)

    result = await process.executor.execute("outer-1", Trade("o-1"), outer, timeout=5)

    assert result.value == "O-1"


def SendOff_of_order(values: SagaValues[Trade]) -> SendOff:
    return SendOff(values.data.order_id)


async def test_nothing_is_compensated_behind_a_declared_commit_point(replicas: Replicas) -> None:
    def broken(values: SagaValues[Trade]) -> SendOff:
        raise RuntimeError(values.transaction_id)

    trade = SagaDefinition(
        "trade",
        step("take", TakeMoney, compensate=GiveBack),
        commit_point(),
        step("send", broken),
        data=Trade,
    )
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1", 12), trade, timeout=5)

    assert result.state is SagaState.RUNNING
    assert replicas.effects == ["take 12 EUR"]


async def test_the_result_of_a_step_that_has_not_run_is_named(replicas: Replicas) -> None:
    trade = SagaDefinition(
        "trade",
        when(lambda values: values.data.amount > 10, step("box", SetAside)),
        step("send", lambda values: SendOff(values["box"])),
        data=Trade,
    )
    process = await start(replicas, trade)

    result = await process.executor.execute("trade-1", Trade("o-1"), trade, timeout=5)

    assert result.error is not None
    assert "'box' has no result here" in result.error.message


async def test_declared_limits_are_those_of_the_decorator(replicas: Replicas) -> None:
    trade = SagaDefinition("trade", sleep(1000), data=Trade, timeout=10, version=3)
    process = await start(replicas, trade)

    await process.executor.start("trade-1", Trade("o-1"), trade)
    status = await process.executor.status("trade-1")
    while not (await process.executor.status("trade-1")).state.is_final:
        await replicas.clock.run_for(5)
    result = await process.executor.result("trade-1", timeout=5)

    assert (status.name, status.version) == ("trade", 3)
    assert result.error is not None
    assert result.error.code == "TIMEOUT"


# --- mistakes ---


def always(_values: object) -> bool:
    return True


async def never(_values: object) -> bool:
    return False


A: SagaPart[Any] = step("a", send("a"))
# What a type checker refuses.
ANY: Any = sagas


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ANY.step("", SendOff), "name"),
        (lambda: ANY.step("a", TradeDone), "derives from Command"),
        (lambda: ANY.step("a", SendOff("a")), "command must be a function"),
        (lambda: ANY.step("a", SendOff, compensate="undo"), "compensate must be a function"),
        (lambda: ANY.step("a", SendOff, timeout=-1), "timeout"),
        (lambda: ANY.publish("a", SendOff), "derives from Event"),
        (lambda: ANY.when("yes", A), "condition must be a function"),
        (lambda: ANY.when(True, A), "condition must be a function"),
        (lambda: ANY.when(never, A), "got an async one"),
        (lambda: when(always), "has no parts"),
        (lambda: parallel(), "has no parts"),
        (lambda: ANY.parallel(A, on_failure="stop"), "on_failure"),
        (lambda: ANY.sequence(SendOff), "is not a part"),
        (lambda: ANY.sleep(), "one of the two"),
        (lambda: ANY.sleep(-1), "seconds"),
        (lambda: ANY.wait_for(SendOff, key="text"), "class of an event"),
        (lambda: ANY.wait_for(TradeDone, key=lambda values: values.data.order_id), "event_key is missing"),
        (lambda: wait_for(TradeDone, key="amount"), "has no field 'amount'"),
        (lambda: ANY.child("a", SendOff, always), "derives from Saga"),
        (lambda: ANY.SagaDefinition("trade", data=Trade), "got none"),
        (lambda: ANY.SagaDefinition("trade", SendOff, data=Trade), "got SendOff"),
        (lambda: ANY.SagaDefinition("", A, data=Trade), "name"),
        (lambda: ANY.SagaDefinition("trade", A, ANY.when(always, A), data=Trade), "2 parts are named 'a'"),
        (
            lambda: ANY.SagaDefinition("trade", ANY.step("a", SendOff), data=Trade),
            "cannot fill SendOff: text of it is not a field of Trade",
        ),
        (
            lambda: ANY.SagaDefinition("trade", ANY.step("a", TakeMoney, compensate=PutBack), data=Trade),
            "cannot fill PutBack: text of it is not a field of Money, TakeMoney, Trade",
        ),
        (
            lambda: ANY.SagaDefinition(
                "trade", ANY.wait_for(TradeDone, key="x", event_key="order_id"), data=Trade
            ),
            "Trade has no field 'x'",
        ),
        (
            lambda: ANY.SagaDefinition(
                "trade",
                ANY.wait_for(TradeSettled, key="order_id"),
                ANY.wait_for(TradeSettled, key="order_id", event_key="amount", name="second"),
                data=Trade,
            ),
            "two functions for event_key=",
        ),
        (lambda: ANY.SagaDefinition("trade", A, data=Trade, returns="b"), "names no step that runs"),
        (
            lambda: ANY.SagaDefinition("trade", ANY.when(always, A), data=Trade, returns="a", result=str),
            "names no step that runs in every case",
        ),
        (lambda: ANY.SagaDefinition("trade", A, data=Trade, returns=lambda values: 1), "result= is missing"),
        (lambda: ANY.SagaDefinition("trade", A, data=Trade, returns=never, result=str), "plain function"),
        (lambda: ANY.SagaDefinition("trade", A, data=Trade, result=str), "no effect without returns="),
    ],
)
def test_a_mistake_in_a_declaration_is_reported(make: Any, text: str) -> None:
    with pytest.raises(DeclarationError, match=text.replace("=", r"\=")):
        make()


def test_every_mistake_of_a_definition_is_reported_at_once() -> None:
    with pytest.raises(DeclarationError) as caught:
        SagaDefinition("trade", A, A, step("b", SendOff), data=Trade, returns="c", result=str)

    assert len(caught.value.problems) == 3


def composed(*definitions: Any, handlers: Sequence[Callable[..., Any]] = ()) -> tuple[str, ...]:
    catga = add_catga(CatgaOptions(service_name="orders"))
    catga.add_handlers(*handlers)
    add_sagas(catga, *definitions)
    try:
        catga.validate()
    except ConfigurationError as error:
        return error.problems
    return ()


async def send_off(message: SendOff) -> str:
    return message.text


def test_a_command_without_a_handler_is_reported_at_composition() -> None:
    trade = SagaDefinition(
        "trade", step("a", SendOff_of_order), step("b", TakeMoney, compensate=GiveBack), data=Trade
    )

    problems = composed(trade, handlers=[send_off])

    assert [("TakeMoney" in each, "GiveBack" in each) for each in problems] == [(True, False), (False, True)]


def test_a_child_that_is_not_registered_is_reported_at_composition() -> None:
    inner = SagaDefinition("inner", A, data=Trade)
    outer = SagaDefinition("outer", child("inner", inner, lambda values: values.data), data=Trade)

    [problem] = composed(outer, handlers=[send_off])

    assert "'outer' runs the saga" in problem
    assert composed(outer, inner, handlers=[send_off]) == ()


def test_two_definitions_of_one_name_are_reported_at_composition() -> None:
    first, second = (SagaDefinition("trade", A, data=Trade) for _ in range(2))

    [problem] = composed(first, second, handlers=[send_off])

    assert "Two sagas are called 'trade' v1" in problem
    assert composed(first, SagaDefinition("trade", A, data=Trade, version=2), handlers=[send_off]) == ()


async def test_a_definition_that_is_not_registered_is_refused(replicas: Replicas) -> None:
    trade = SagaDefinition("trade", A, data=Trade)
    other = SagaDefinition("other", A, data=Trade)
    process = await start(replicas, trade)

    with pytest.raises(ConfigurationError, match="OtherSaga is not registered"):
        await process.app.get(SagaExecutor).execute("other-1", Trade("o-1"), other)
