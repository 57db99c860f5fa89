"""Tests of aggregates and deciders that read as sentences."""

from __future__ import annotations

from typing import Any

import pytest

from catga_core import CatgaError, ConfigurationError, Event
from catga_core.event_sourcing import Aggregate, Decider, apply
from catga_testing import given


class Opened(Event):
    pass


class Deposited(Event):
    amount: int


class Odd(Event):
    value: Any


class Account(Aggregate):
    open: bool = False
    balance: int = 0

    def deposit(self, amount: int) -> None:
        if not self.open:
            raise CatgaError("open it first", code="NOT_OPEN")
        if amount:
            self.raise_event(Deposited(amount))

    async def later(self) -> None: ...

    @apply
    def opened(self, event: Opened) -> None:
        self.open = True

    @apply
    def deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @apply
    def odd(self, event: Odd) -> None: ...


def decide(amount: int, balance: int) -> list[Deposited]:
    if amount < 0:
        raise ValueError("amounts are above 0")
    return [Deposited(amount)] if amount else []


def evolve(balance: int, event: Deposited) -> int:
    return balance + event.amount


TOTAL = Decider(category="total", initial=int, decide=decide, evolve=evolve)


def test_an_aggregate_is_changed_and_its_new_events_are_expected() -> None:
    after = given(Account).events(Opened(), Deposited(5)).when(lambda account: account.deposit(7))
    assert after.then(Deposited(7)).state.balance == 12


def test_a_decider_is_asked_and_its_events_are_expected() -> None:
    assert given(TOTAL).events(Deposited(5)).when(7).then(Deposited(7)).state == 12


def test_nothing_may_be_expected() -> None:
    given(Account).events(Opened()).when(lambda account: account.deposit(0)).then()
    given(TOTAL).when(0).then()


def test_a_refusal_may_be_expected_with_its_code_and_its_text() -> None:
    refused = given(Account).when(lambda account: account.deposit(7))
    assert refused.then_raises(CatgaError, code="NOT_OPEN", match="open it").code == "NOT_OPEN"
    given(TOTAL).when(-1).then_raises(ValueError)


def test_an_aggregate_has_the_id_it_was_given() -> None:
    assert given(Account, "a-1").when(lambda account: None).state.id == "a-1"


def test_other_events_than_expected_fail_and_both_are_shown() -> None:
    after = given(TOTAL).when(7)
    with pytest.raises(
        AssertionError, match=r"expected \n  Deposited\(amount=8\)\nand there was \n  Deposited\(amount=7\)"
    ):
        after.then(Deposited(8))
    with pytest.raises(AssertionError, match="expected no event"):
        after.then()
    with pytest.raises(AssertionError):
        after.then(Deposited(7), Deposited(7))


def test_a_refusal_where_events_were_expected_comes_out() -> None:
    refused = given(Account).when(lambda account: account.deposit(7))
    with pytest.raises(CatgaError, match="open it first"):
        refused.then(Deposited(7))
    with pytest.raises(CatgaError, match="open it first"):
        _ = refused.state


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"error": ValueError}, "expected ValueError\nand CatgaError was raised: NOT_OPEN: open it first"),
        ({"error": CatgaError, "code": "CLOSED"}, "expected the code CLOSED"),
        ({"error": CatgaError, "match": "close"}, "expected a text with 'close'"),
    ],
)
def test_another_refusal_than_expected_fails(options: dict[str, Any], told: str) -> None:
    error = options.pop("error")
    with pytest.raises(AssertionError, match=told):
        given(Account).when(lambda account: account.deposit(7)).then_raises(error, **options)


def test_no_refusal_where_one_was_expected_fails() -> None:
    with pytest.raises(AssertionError, match=r"expected ValueError\nand there was \n  Deposited"):
        given(TOTAL).when(7).then_raises(ValueError)


def test_an_event_that_cannot_be_stored_is_found() -> None:
    with pytest.raises(CatgaError, match="a Odd cannot be serialized"):
        given(Account).when(lambda account: account.raise_event(Odd(object())))


def test_what_has_to_be_awaited_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a plain function"):
        given(Account).when(lambda account: account.later())


def test_given_takes_a_class_and_when_a_function() -> None:
    with pytest.raises(ConfigurationError, match=r"Write given\(Account, id=...\)"):
        given(Account("1"))  # type: ignore[call-overload]
    for wrong in (None, 5):
        with pytest.raises(TypeError, match=r"when\(\) takes a function"):
            given(Account).when(wrong)  # type: ignore[arg-type]
