"""The decider style: pure functions, and a repository that loads, decides and stores."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, ConfigurationError, Event
from catga_core.errors import ConcurrencyError, StreamNotFoundError
from catga_core.event_sourcing import (
    Change,
    Decided,
    Decider,
    DeciderRepository,
    EventTypes,
    LogEventStore,
    Snapshots,
    every,
)
from catga_testing import ManualClock
from tests.core.event_sourcing.memory import Log, SnapshotsThatFail


class Opened(Event):
    owner: str


class Deposited(Event):
    amount: int


class Surprise(Event):
    pass


class Open(msgspec.Struct, frozen=True):
    owner: str


class Deposit(msgspec.Struct, frozen=True):
    amount: int


class Account(msgspec.Struct, frozen=True):
    owner: str | None = None
    balance: int = 0


def decide(command: Open | Deposit, account: Account) -> list[Opened | Deposited]:
    match command:
        case Open(owner):
            return [] if account.owner == owner else [Opened(owner)]
        case Deposit(amount):
            if account.owner is None:
                raise CatgaError("open it first", code="ACCOUNT_NOT_OPEN")
            return [Deposited(amount)]


def evolve(account: Account, event: Opened | Deposited) -> Account:
    match event:
        case Opened(owner):
            return Account(owner, account.balance)
        case Deposited(amount):
            return Account(account.owner, account.balance + amount)


ACCOUNT = Decider(category="account", initial=Account, decide=decide, evolve=evolve)

Accounts = DeciderRepository[Open | Deposit, Account, Opened | Deposited]


@pytest.fixture
def event_log() -> Log:
    return Log()


@pytest.fixture
def store(event_log: Log) -> LogEventStore:
    return LogEventStore(event_log, EventTypes(), ManualClock())


@pytest.fixture
def accounts(store: LogEventStore) -> Accounts:
    return DeciderRepository(ACCOUNT, store)


async def test_what_follows_from_a_command_is_stored_and_told(accounts: Accounts) -> None:
    assert await accounts.handle("1", Open("Ada")) == Decided(Account("Ada"), (Opened("Ada"),), 1)
    assert await accounts.handle("1", Deposit(5)) == Decided(Account("Ada", 5), (Deposited(5),), 2)
    assert await accounts.load("1") == Account("Ada", 5)
    assert accounts.stream_id("1") == "account-1"


async def test_nothing_is_stored_where_nothing_follows(accounts: Accounts, event_log: Log) -> None:
    await accounts.handle("1", Open("Ada"))
    event_log.calls.clear()
    assert await accounts.handle("1", Open("Ada")) == Decided(Account("Ada"), (), 1)
    assert "append" not in event_log.calls


async def test_a_refusal_comes_out_and_nothing_is_stored(accounts: Accounts) -> None:
    with pytest.raises(CatgaError, match="open it first"):
        await accounts.handle("1", Deposit(5))
    with pytest.raises(StreamNotFoundError, match="account '1' was not found"):
        await accounts.load("1")
    assert await accounts.load_or_initial("1") == Account()


async def test_it_is_decided_anew_when_another_was_quicker(store: LogEventStore) -> None:
    seen: list[int] = []

    class OnceOvertaken(LogEventStore):
        async def append(self, stream_id: str, events: Any, *, expected_version: int = -1) -> Any:
            if len(seen) == 1:
                await store.append(stream_id, Deposited(100))
            return await super().append(stream_id, events, expected_version=expected_version)

    def watching(command: Deposit, account: Account) -> list[Deposited]:
        seen.append(account.balance)
        return [Deposited(command.amount)]

    decider = Decider(category="account", initial=Account, decide=watching, evolve=evolve)
    overtaken = DeciderRepository(decider, OnceOvertaken(store.log, store.types, ManualClock()))
    assert (await overtaken.handle("1", Deposit(1))).state.balance == 101
    assert seen == [0, 100]


async def test_it_gives_up_when_others_are_quicker_every_time(store: LogEventStore) -> None:
    class AlwaysOvertaken(LogEventStore):
        async def append(self, stream_id: str, events: Any, *, expected_version: int = -1) -> Any:
            await store.append(stream_id, Deposited(1))
            return await super().append(stream_id, events, expected_version=expected_version)

    accounts = DeciderRepository(ACCOUNT, AlwaysOvertaken(store.log, store.types, ManualClock()))
    with pytest.raises(ConcurrencyError) as caught:
        await accounts.handle("1", Open("Ada"), attempts=2)
    assert caught.value.__notes__ == ["Gave up after 2 attempts, each of which met another writer."]


async def test_a_command_whose_answer_was_lost_is_handled_once(accounts: Accounts, event_log: Log) -> None:
    event_log.fail_after = 1
    assert (await accounts.handle("1", Open("Ada"))).version == 1
    event_log.fail_after = 1
    await asyncio.gather(*(accounts.handle("1", Deposit(1)) for _ in range(5)))
    assert await accounts.load("1") == Account("Ada", 5)


async def test_its_state_is_kept_in_snapshots(store: LogEventStore, event_log: Log) -> None:
    accounts = DeciderRepository(ACCOUNT, store, snapshots=Snapshots(SnapshotsThatFail(), every(2)))
    await accounts.handle("1", Open("Ada"))
    await accounts.handle("1", Deposit(5))
    await accounts.handle("1", Deposit(6))
    event_log.calls.clear()
    assert await accounts.load("1") == Account("Ada", 11)
    assert event_log.calls == ["read_stream 2-None limit 512"]
    assert (accounts.snapshot_counts.taken, accounts.snapshot_counts.used) == (1, 2)


async def test_its_past_can_be_looked_at(accounts: Accounts) -> None:
    await accounts.handle("1", Open("Ada"))
    await accounts.handle("1", Deposit(5))
    assert await accounts.state_at("1", 1) == Account("Ada")
    difference = await accounts.diff("1", 1, 2)
    assert difference.changes == {"balance": Change(0, 5)}
    assert [each.event async for each in accounts.history("1")] == [Opened("Ada"), Deposited(5)]


async def test_an_event_of_another_class_is_refused_unless_the_decider_ignores_such(
    store: LogEventStore,
) -> None:
    await store.append("account-1", [Opened("Ada"), Surprise()])
    with pytest.raises(
        CatgaError, match=r"evolve \(test_deciders.py:\d+\) is for Opened, Deposited, and not for Surprise"
    ):
        await DeciderRepository(ACCOUNT, store).load("1")
    loose = Decider(
        category="account", initial=Account, decide=decide, evolve=evolve, ignore_unknown_events=True
    )
    assert await DeciderRepository(loose, store).load("1") == Account("Ada")


async def test_a_state_may_be_a_dataclass_a_mapping_or_any_value(store: LogEventStore) -> None:
    @dataclass
    class Total:
        amount: int = 0

    def total(state: Total, event: Deposited) -> Total:
        return Total(state.amount + event.amount)

    def table(state: dict[str, int], event: Deposited) -> dict[str, int]:
        return {"amount": state.get("amount", 0) + event.amount}

    def number(state: int, event: Deposited) -> int:
        return state + event.amount

    def deposit(command: int, state: object) -> list[Deposited]:
        return [Deposited(command)]

    totals = DeciderRepository(Decider(category="total", initial=Total, decide=deposit, evolve=total), store)
    tables = DeciderRepository(
        Decider(category="table", initial=lambda: dict[str, int](), decide=deposit, evolve=table), store
    )
    numbers = DeciderRepository(Decider(category="number", initial=int, decide=deposit, evolve=number), store)
    await totals.handle("1", 5)
    await tables.handle("1", 5)
    await numbers.handle("1", 5)
    assert (await totals.diff("1", 0, 1)).changes["amount"].after == 5
    assert (await tables.diff("1", 0, 1)).changes["amount"].after == 5
    assert (await numbers.diff("1", 0, 1)).changes == {"state": Change(0, 5)}


async def think_later(*arguments: Any) -> Any: ...


def untold(state, event): ...


def lonely(state: int) -> int: ...  # type: ignore[empty-body]  # never called


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"category": "acc-ount"}, "category='acc-ount'"),
        ({"schema_version": 0}, "schema_version=0"),
        ({"decide": think_later}, r"think_later \(.*is asynchronous"),
        ({"evolve": untold}, r"untold \(.*does not say which event it is for: annotate 'event'"),
        ({"evolve": lonely}, r"lonely \(.*cannot be an evolve"),
    ],
)
def test_what_cannot_work_is_refused_where_the_decider_is_made(options: dict[str, Any], told: str) -> None:
    good: dict[str, Any] = {"category": "account", "initial": Account, "decide": decide, "evolve": evolve}
    with pytest.raises(ConfigurationError, match=told):
        Decider(**{**good, **options})


def test_a_state_without_a_type_cannot_be_kept_in_snapshots(store: LogEventStore) -> None:
    def untyped(state: Any, event: Deposited):
        return state

    decider: Decider[int, Any, Deposited] = Decider(
        category="account", initial=int, decide=lambda command, state: [], evolve=untyped
    )
    with pytest.raises(ConfigurationError, match=r"untyped \(.*does not say what it returns"):
        DeciderRepository(decider, store, snapshots=Snapshots(SnapshotsThatFail(), every(2)))
