"""One application, the same over every store: what it promises does not depend on where its state is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from catga_core import CatgaApp, CatgaError, ConcurrencyError
from catga_core.event_sourcing import AggregateRepository
from catga_core.event_sourcing.projections import Projections
from catga_core.event_sourcing.subscriptions import Subscriptions
from catga_core.interfaces import SnapshotStore
from catga_core.reliability import DeadLetterQueue, Locks
from catga_testing.waiting import eventually
from tests.application.bank import (
    REFUSED,
    Account,
    Balances,
    Deposit,
    Deposited,
    Moved,
    Opened,
    Post,
    Withdraw,
    add_bank,
)
from tests.stores import Place

OPTIONS: dict[str, Any] = {
    "enable_outbox": True,
    "enable_inbox": True,
    "enable_dead_letter_queue": True,
    "outbox_poll_seconds": 0.05,
    "service_name": "bank",
}


@pytest.fixture
def post() -> Post:
    return Post()


@asynccontextmanager
async def bank(place: Place, post: Post) -> AsyncGenerator[CatgaApp]:
    catga = place.container(**OPTIONS)
    add_bank(catga, post)
    async with catga.running() as app:
        yield app


@pytest.fixture
async def app(place: Place, post: Post) -> AsyncGenerator[CatgaApp]:
    async with bank(place, post) as app:
        yield app


def accounts_of(app: CatgaApp) -> AggregateRepository[Account]:
    return app.get(AggregateRepository[Account])


async def test_commands_change_aggregates_and_queries_of_the_past_see_each_step(app: CatgaApp) -> None:
    for number, amount in enumerate((10, 20, 30)):
        (await app.mediator.send(Deposit(f"d-{number}", "ann", amount))).unwrap()
    (await app.mediator.send(Withdraw("ann", 15))).unwrap()

    accounts = accounts_of(app)
    assert ((await accounts.load("ann")).balance, (await accounts.load("ann")).version) == (45, 5)
    assert [(await accounts.state_at("ann", version)).balance for version in range(1, 6)] == [
        0,
        10,
        30,
        60,
        45,
    ]
    assert [type(each.event).__name__ async for each in accounts.history("ann")] == [
        "Opened", "Deposited", "Deposited", "Deposited", "Withdrawn",
    ]  # fmt: skip


async def test_a_command_that_comes_again_gets_the_first_answer_and_changes_nothing(app: CatgaApp) -> None:
    command = Deposit("d-1", "ann", 10)

    answers = [(await app.mediator.send(command)).unwrap() for _ in range(3)]
    at_once = await asyncio.gather(*(app.mediator.send(Deposit("d-2", "ann", 5)) for _ in range(8)))

    assert answers == [10, 10, 10]
    assert {result.unwrap() for result in at_once} == {15}
    assert await app.event_store.version("account-ann") == 3


async def test_what_is_published_is_delivered_once_after_the_commit(app: CatgaApp, post: Post) -> None:
    (await app.mediator.send(Deposit("d-1", "ann", 10))).unwrap()

    await eventually(lambda: post.sent["ann", 10] == 1)
    # The handler's effect is visible before its unit of work is committed.
    await eventually(lambda: _is_empty(app))
    assert await app.event_store.version("statement-ann") == 1


async def test_a_command_that_fails_takes_back_what_it_has_published(app: CatgaApp, post: Post) -> None:
    (await app.mediator.send(Deposit("d-1", "ann", 10))).unwrap()

    refused = await app.mediator.send(Withdraw("ann", 11))
    (await app.mediator.send(Deposit("d-2", "ann", 1))).unwrap()

    assert refused.error.code == REFUSED
    await eventually(lambda: post.sent["ann", 1] == 1)
    await eventually(lambda: _is_empty(app))
    assert post.sent["ann", -11] == 0


async def test_an_event_that_comes_twice_has_its_effect_once(app: CatgaApp, post: Post) -> None:
    for _ in range(3):
        await app.mediator.publish(Moved("ann", 7), message_id="m-1")

    assert post.sent["ann", 7] == 1
    assert await app.event_store.version("statement-ann") == 1


async def test_an_event_whose_handler_fails_waits_in_the_dead_letters_and_is_replayed(
    app: CatgaApp, post: Post
) -> None:
    letters = app.get(DeadLetterQueue)
    post.open = False
    (await app.mediator.send(Deposit("d-1", "ann", 10))).unwrap()
    (letter,) = await eventually(lambda: _letters(letters))

    again = await letters.replay(letter.id)
    post.open = True
    done = await letters.replay(letter.id)

    assert (letter.handler, letter.name, letter.code) == ("SendStatement", "bank.moved", "HANDLER_FAILED")
    assert (again.is_success, done.is_success) == (False, True)
    assert await letters.count() == 0
    assert post.sent["ann", 10] == 1


async def test_of_two_that_changed_one_aggregate_one_is_told_of_the_other(app: CatgaApp) -> None:
    (await app.mediator.send(Deposit("d-1", "ann", 10))).unwrap()
    accounts = accounts_of(app)
    first, second = await accounts.load("ann"), await accounts.load("ann")
    first.deposit(1)
    second.deposit(2)

    await accounts.save(first)
    with pytest.raises(ConcurrencyError) as raised:
        await accounts.save(second)

    assert (raised.value.expected, raised.value.actual) == (2, 3)
    assert (await accounts.load("ann")).balance == 11


async def test_many_updates_of_one_aggregate_all_count(app: CatgaApp) -> None:
    accounts = accounts_of(app)

    await asyncio.gather(
        *(accounts.update("ann", lambda each: each.deposit(1), create=True, attempts=100) for _ in range(12))
    )

    assert (await accounts.load("ann")).balance == 12


async def test_a_unit_of_work_spans_streams_inbox_outbox_and_checkpoints_or_leaves_nothing(
    app: CatgaApp, post: Post
) -> None:
    async def write() -> None:
        await app.event_store.append("account-bob", [Opened("bob"), Deposited(1)])
        await app.inbox.record("m-9", "somebody")
        await app.checkpoints.save("mine", 7)
        await app.mediator.publish(Moved("bob", 1))

    with pytest.raises(ZeroDivisionError):
        async with app.unit_of_work():
            await write()
            raise ZeroDivisionError
    nothing = (
        await app.event_store.version("account-bob"),
        await app.inbox.seen("m-9", "somebody"),
        await app.checkpoints.load("mine"),
        (await app.outbox.stats()).pending,
    )
    async with app.unit_of_work():
        await write()

    assert nothing == (0, False, None, 0)
    assert await app.event_store.version("account-bob") == 2
    assert await app.inbox.seen("m-9", "somebody")
    await eventually(lambda: post.sent["bob", 1] == 1)


async def test_projections_and_subscriptions_follow_what_happens(app: CatgaApp) -> None:
    (await app.mediator.send(Deposit("d-1", "ann", 10))).unwrap()
    (await app.mediator.send(Withdraw("ann", 4))).unwrap()

    await app.get(Projections).caught_up("balances")
    await app.get(Subscriptions).caught_up("withdrawals")

    assert app.get(Balances).total == 6
    assert await app.event_store.version("withdrawals") == 1


async def test_snapshots_are_taken_and_change_nothing(app: CatgaApp) -> None:
    for number in range(7):
        (await app.mediator.send(Deposit(f"d-{number}", "ann", 1))).unwrap()

    accounts = accounts_of(app)
    account = await accounts.load("ann")

    assert (account.balance, account.version) == (7, 8)
    assert accounts.snapshot_counts.taken >= 2
    assert await app.get(SnapshotStore).delete("account-ann") == 1
    assert (await accounts.load("ann")).balance == 7


async def test_a_lock_is_one_holders(app: CatgaApp) -> None:
    locks = app.get(Locks)

    async with locks.hold("till", lease=30) as held, locks.try_hold("till", lease=30) as second:
        assert second is None
    async with locks.hold("till", lease=30) as next_one:
        assert next_one.fencing_token > held.fencing_token


async def test_events_are_read_by_position_in_the_order_of_their_commits(app: CatgaApp) -> None:
    async def some(account: str) -> None:
        for number in range(10):
            await app.event_store.append(f"log-{account}", Deposited(number))

    await asyncio.gather(*(some(str(number)) for number in range(8)))

    positions = [each.position async for each in app.event_store.read_all()]
    assert len(positions) == 80
    assert positions == sorted(set(positions))


async def test_another_run_goes_on_where_the_first_one_ended(place: Place, post: Post) -> None:
    async with bank(place, post) as app:
        (await app.mediator.send(Deposit("d-1", "ann", 10))).unwrap()
        await eventually(lambda: post.sent["ann", 10] == 1)

    async with bank(place, post) as app:
        again = await app.mediator.send(Deposit("d-1", "ann", 10))
        more = await app.mediator.send(Deposit("d-2", "ann", 5))
        await eventually(lambda: post.sent["ann", 5] == 1)

    assert (again.unwrap(), more.unwrap()) == (10, 15)
    assert post.sent["ann", 10] == 1


async def test_two_processes_share_one_place(place: Place) -> None:
    posts = Post(), Post()
    async with bank(place, posts[0]) as first, bank(place, posts[1]) as second:
        sent = await asyncio.gather(
            *(
                app.mediator.send(Deposit(f"d-{number}", "ann", 1))
                for app in (first, second)
                for number in range(6)
            )
        )
        # Those that met another's write say so, and come again.
        for app, number, result in zip([first] * 6 + [second] * 6, [*range(6), *range(6)], sent, strict=True):
            if not result.is_success:
                assert result.error.retryable, result.error
                await eventually(lambda app=app, number=number: _sent(app, number))  # type: ignore[misc]
        balance = (await accounts_of(first).load("ann")).balance
        await eventually(lambda: sum(post.sent.total() for post in posts) == 6)

    assert balance == 6


async def test_a_store_that_is_gone_is_an_error_of_the_message(app: CatgaApp) -> None:
    class Gone:
        async def append(self, *_: object) -> None:
            raise CatgaError("the place is gone", code="PERSISTENCE_FAILED")

        def __getattr__(self, name: str) -> Any:
            return getattr(log, name)

    log = app.container.event_log()
    with app.container.event_log.override(Gone()):
        failed = await app.mediator.send(Deposit("d-1", "ann", 10))
    done = await app.mediator.send(Deposit("d-1", "ann", 10))

    assert (failed.error.code, failed.error.retryable) == ("PERSISTENCE_FAILED", True)
    assert done.unwrap() == 10


async def _is_empty(app: CatgaApp) -> bool:
    return (await app.outbox.stats()).pending == 0


async def _letters(letters: DeadLetterQueue) -> Any:
    return (await letters.find()).letters


async def _sent(app: CatgaApp, number: int) -> bool:
    return (await app.mediator.send(Deposit(f"d-{number}", "ann", 1))).is_success
