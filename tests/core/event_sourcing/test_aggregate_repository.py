"""Loading, saving and updating aggregates."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from catga_core import CatgaError, ErrorCode, Event, MessageContext
from catga_core.errors import ConcurrencyError, StreamNotFoundError
from catga_core.event_sourcing import Aggregate, AggregateRepository, EventTypes, LogEventStore, apply
from catga_core.interfaces import ANY, EventRecord, StreamAppend
from catga_core.messages.context import active_context
from catga_testing import ManualClock
from tests.core.event_sourcing.memory import Log


class Deposited(Event):
    amount: int


class Closed(Event):
    pass


@dataclass
class Account(Aggregate):
    balance: int = 0
    closed: bool = False
    seen: list[int] = field(default_factory=list)

    def deposit(self, amount: int) -> None:
        if self.closed:
            raise CatgaError(f"{self.id} is closed", code="ACCOUNT_CLOSED")
        self.raise_event(Deposited(amount))

    @apply
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.seen.append(event.amount)

    @apply
    def _closed(self, event: Closed) -> None:
        self.closed = True


@pytest.fixture
def event_log() -> Log:
    return Log()


@pytest.fixture
def accounts(event_log: Log) -> AggregateRepository[Account]:
    return AggregateRepository(Account, LogEventStore(event_log, EventTypes(), ManualClock()))


async def opened(accounts: AggregateRepository[Account], *amounts: int) -> Account:
    account = Account("1")
    for amount in amounts or (10,):
        account.deposit(amount)
    await accounts.save(account)
    return account


async def test_what_was_saved_is_loaded(accounts: AggregateRepository[Account]) -> None:
    saved = await opened(accounts, 10, 20)
    assert (saved.version, saved.pending_events) == (2, ())
    loaded = await accounts.load("1")
    assert loaded == saved
    assert (loaded.version, loaded.seen) == (2, [10, 20])


async def test_events_are_read_by_a_process_that_has_never_written_one(
    event_log: Log, accounts: AggregateRepository[Account]
) -> None:
    await opened(accounts)
    other = AggregateRepository(Account, LogEventStore(event_log, EventTypes(), ManualClock()))
    assert (await other.load("1")).balance == 10


async def test_what_is_no_aggregate_or_event_is_refused_with_what_to_give(
    event_log: Log, accounts: AggregateRepository[Account]
) -> None:
    store = LogEventStore(event_log, EventTypes(), ManualClock())
    with pytest.raises(TypeError, match="a repository of Account saves Account only: 'z' is none"):
        await accounts.save("z")  # type: ignore[arg-type]
    for wrong in ("z", 7, [7]):
        with pytest.raises(TypeError, match="is not an event"):
            await store.append("account-1", wrong)  # type: ignore[arg-type]


async def test_what_does_not_exist_is_told_by_its_name_and_stream(
    accounts: AggregateRepository[Account],
) -> None:
    with pytest.raises(
        StreamNotFoundError, match="Account '7' was not found: the stream 'account-7' has no events"
    ) as caught:
        await accounts.load("7")
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.NOT_FOUND, False)
    assert caught.value.stream_id == "account-7"


async def test_a_new_one_is_loaded_where_none_exists(accounts: AggregateRepository[Account]) -> None:
    account = await accounts.load_or_new("7")
    assert (account.id, account.version, account.balance) == ("7", 0, 0)
    await opened(accounts)
    assert (await accounts.load_or_new("1")).balance == 10


async def test_saving_nothing_asks_the_store_for_nothing(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    account = await opened(accounts)
    event_log.calls.clear()
    await accounts.save(account)
    assert event_log.calls == []


async def test_a_saved_aggregate_goes_on(accounts: AggregateRepository[Account]) -> None:
    account = await opened(accounts)
    account.deposit(5)
    await accounts.save(account)
    assert ((await accounts.load("1")).balance, account.version) == (15, 2)


async def test_of_two_that_were_loaded_at_once_the_second_is_in_conflict_and_not_half_saved(
    accounts: AggregateRepository[Account],
) -> None:
    await opened(accounts)
    one, other = await accounts.load("1"), await accounts.load("1")
    one.deposit(1)
    other.deposit(2)
    other.deposit(3)
    await accounts.save(one)
    with pytest.raises(ConcurrencyError) as caught:
        await accounts.save(other)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert (other.version, other.pending_events) == (1, (Deposited(2), Deposited(3)))
    assert (await accounts.load("1")).balance == 11


async def test_a_new_one_does_not_overwrite_one_that_exists(accounts: AggregateRepository[Account]) -> None:
    await opened(accounts)
    account = Account("1")
    account.deposit(99)
    with pytest.raises(ConcurrencyError, match="expected without events"):
        await accounts.save(account)


async def test_saving_again_after_a_lost_answer_stores_nothing_twice(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    account = Account("1")
    account.deposit(10)
    account.deposit(20)
    event_log.fail_after = 1
    with pytest.raises(CatgaError, match="the answer was lost"):
        await accounts.save(account)
    assert list(account.pending_events) == [Deposited(10), Deposited(20)]
    await accounts.save(account)
    assert list(account.pending_events) == []
    assert account.version == 2
    assert (await accounts.load("1")).seen == [10, 20]


async def test_what_was_stored_without_an_answer_is_found_though_others_have_gone_on(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    account = Account("1")
    account.deposit(10)
    account.deposit(20)
    event_log.fail_after = 1
    with pytest.raises(CatgaError, match="the answer was lost"):
        await accounts.save(account)
    await accounts.update("1", lambda other: other.deposit(99))
    await accounts.save(account)
    assert (account.version, account.balance) == (2, 30)
    assert (await accounts.load("1")).seen == [10, 20, 99]


async def test_what_is_raised_after_a_lost_answer_is_stored_behind_what_was(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    account = Account("1")
    account.deposit(10)
    event_log.fail_after = 1
    with pytest.raises(CatgaError, match="the answer was lost"):
        await accounts.save(account)
    account.deposit(20)
    await accounts.save(account)
    assert account.version == 2
    assert (await accounts.load("1")).seen == [10, 20]


async def test_a_conflict_after_an_append_that_was_never_made_stays_a_conflict(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    await opened(accounts)
    account = await accounts.load("1")
    account.deposit(5)
    event_log.fail_before = 1
    with pytest.raises(CatgaError, match="the disk is full"):
        await accounts.save(account)
    await accounts.update("1", lambda other: other.deposit(99))
    with pytest.raises(ConcurrencyError):
        await accounts.save(account)
    assert (await accounts.load("1")).seen == [10, 99]


async def test_saving_the_same_one_twice_at_once_stores_it_once(
    accounts: AggregateRepository[Account],
) -> None:
    account = Account("1")
    account.deposit(10)
    await asyncio.gather(accounts.save(account), accounts.save(account))
    assert (account.version, account.pending_events) == (1, ())
    account.deposit(5)
    await accounts.save(account)
    assert (await accounts.load("1")).seen == [10, 5]


async def test_events_of_an_aggregate_belong_to_the_message_that_is_handled(
    accounts: AggregateRepository[Account],
) -> None:
    active_context.set(MessageContext("m-2", "m-1"))
    await opened(accounts)
    [stored] = [each async for each in accounts.history("1")]
    assert (stored.correlation_id, stored.causation_id) == ("m-1", "m-2")


async def test_an_event_that_is_not_applied_is_told_with_its_place_in_the_stream(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    class Surprise(Event):
        pass

    await opened(accounts)
    types = EventTypes()
    store = LogEventStore(event_log, types, ManualClock())
    await store.append("account-1", Surprise())
    accounts = AggregateRepository(Account, store)
    with pytest.raises(CatgaError, match="has no @apply method for Surprise") as caught:
        await accounts.load("1")
    assert caught.value.__notes__ == ["while Surprise was applied, version 2 of 'account-1'"]


async def test_event_without_class_is_an_error_where_unknown_events_are_ignored(event_log: Log) -> None:
    class Loose(Account, category="account", ignore_unknown_events=True):
        pass

    record = EventRecord("e-1", "Vanished", 1, "msgpack", b"\x80", 0)
    await event_log.append([StreamAppend("account-1", ANY, [record])])
    loose = AggregateRepository(Loose, LogEventStore(event_log, EventTypes(), ManualClock()))
    with pytest.raises(CatgaError, match="no class named Vanished v1 is known"):
        await loose.load("1")


# --- update ---


async def test_an_update_loads_changes_and_saves(accounts: AggregateRepository[Account]) -> None:
    await opened(accounts)
    account = await accounts.update("1", lambda account: account.deposit(5))
    assert (account.balance, account.version, account.pending_events) == (15, 2, ())
    assert (await accounts.load("1")).balance == 15


async def test_an_update_may_await(accounts: AggregateRepository[Account]) -> None:
    async def later(account: Account) -> None:
        await asyncio.sleep(0)
        account.deposit(5)

    await opened(accounts)
    assert (await accounts.update("1", later)).balance == 15


async def test_an_update_of_what_does_not_exist_raises_unless_it_may_create(
    accounts: AggregateRepository[Account],
) -> None:
    with pytest.raises(StreamNotFoundError):
        await accounts.update("1", lambda account: account.deposit(5))
    assert (await accounts.update("1", lambda account: account.deposit(5), create=True)).version == 1


async def test_an_update_that_changes_nothing_writes_nothing(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    await opened(accounts)
    event_log.calls.clear()
    await accounts.update("1", lambda account: None)
    assert "append" not in event_log.calls


async def test_an_update_decides_anew_when_another_was_quicker(
    accounts: AggregateRepository[Account],
) -> None:
    await opened(accounts)
    seen: list[int] = []

    async def slow(account: Account) -> None:
        seen.append(account.balance)
        if len(seen) == 1:
            await accounts.update("1", lambda other: other.deposit(100))
        account.deposit(1)

    assert (await accounts.update("1", slow)).balance == 111
    assert seen == [10, 110]


async def test_an_update_gives_up_when_others_are_quicker_every_time(
    accounts: AggregateRepository[Account],
) -> None:
    await opened(accounts)
    tries = 0

    async def overtaken(account: Account) -> None:
        nonlocal tries
        tries += 1
        await accounts.update("1", lambda other: other.deposit(100))
        account.deposit(1)

    with pytest.raises(ConcurrencyError) as caught:
        await accounts.update("1", overtaken, attempts=3)
    assert tries == 3
    assert caught.value.__notes__ == ["Gave up after 3 attempts, each of which met another writer."]


async def test_many_updates_at_once_all_happen_once(accounts: AggregateRepository[Account]) -> None:
    async def slowly(account: Account) -> None:
        await asyncio.sleep(0)
        account.deposit(1)

    await opened(accounts, 0)
    await asyncio.gather(*(accounts.update("1", slowly, attempts=100) for _ in range(32)))
    assert (await accounts.load("1")).balance == 32


async def test_what_a_change_raises_comes_out_and_nothing_is_written(
    accounts: AggregateRepository[Account],
) -> None:
    await opened(accounts)

    def refuse(account: Account) -> None:
        account.deposit(5)
        raise CatgaError("no", code="REFUSED")

    with pytest.raises(CatgaError, match="no"):
        await accounts.update("1", refuse)
    assert (await accounts.load("1")).balance == 10


async def test_a_conflict_of_another_stream_within_a_change_is_the_change_s_own(
    accounts: AggregateRepository[Account],
) -> None:
    await opened(accounts)
    tries = 0

    def other_conflict(account: Account) -> None:
        nonlocal tries
        tries += 1
        raise ConcurrencyError("account-2", 1, 2)

    with pytest.raises(ConcurrencyError):
        await accounts.update("1", other_conflict)
    assert tries == 1


async def test_an_update_whose_answer_was_lost_happens_once(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    await opened(accounts)
    event_log.fail_after = 2
    assert (await accounts.update("1", lambda account: account.deposit(5))).balance == 15
    assert (await accounts.load("1")).seen == [10, 5]


async def test_an_update_whose_answer_was_lost_happens_once_though_others_go_on(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    await opened(accounts)
    event_log.fail_after = 1
    updates = [accounts.update("1", lambda account: account.deposit(5)) for _ in range(8)]
    await asyncio.gather(*updates)
    assert (await accounts.load("1")).seen == [10] + [5] * 8


async def test_an_update_whose_outcome_stays_unknown_says_so(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    await opened(accounts)
    event_log.fail_after = 99
    with pytest.raises(CatgaError) as caught:
        await accounts.update("1", lambda account: account.deposit(5), attempts=2)
    assert caught.value.details["outcome"] == "unknown"


async def test_an_update_that_could_not_be_written_is_not_tried_again(
    accounts: AggregateRepository[Account], event_log: Log
) -> None:
    await opened(accounts)
    event_log.fail_before = 1
    with pytest.raises(CatgaError, match="the disk is full"):
        await accounts.update("1", lambda account: account.deposit(5))
    assert (await accounts.load("1")).balance == 10


async def test_an_update_that_is_cancelled_writes_nothing(accounts: AggregateRepository[Account]) -> None:
    await opened(accounts)
    begun = asyncio.Event()

    async def endless(account: Account) -> None:
        account.deposit(5)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(accounts.update("1", endless))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await accounts.load("1")).balance == 10


@pytest.mark.parametrize("attempts", [0, -1])
async def test_an_update_without_an_attempt_is_refused(
    accounts: AggregateRepository[Account], attempts: int
) -> None:
    with pytest.raises(ValueError, match="attempts must be an int >= 1"):
        await accounts.update("1", lambda account: account.deposit(5), attempts=attempts)
