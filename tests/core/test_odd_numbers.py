"""Numbers that cannot be are refused with the argument's name, wherever a number is given."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from catga_core import (
    CatgaApp,
    CatgaError,
    CatgaOptions,
    Command,
    ConfigurationError,
    Event,
    Query,
    add_catga,
    message,
)
from catga_core.event_sourcing import (
    Aggregate,
    AggregateRepository,
    add_aggregate,
    after,
    apply,
    every,
    upcaster,
)
from catga_core.event_sourcing.projections import Projection, Projections, add_projection, project
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.features.idempotency.options import IdempotencyOptions
from catga_core.features.outbox.options import OutboxOptions
from catga_core.interfaces import DeadLetterFilter
from catga_core.memory.stores import MemoryStorage
from catga_core.pipeline.timeout import TimeoutBehavior
from catga_core.reliability import DeadLetterQueue, Locks, idempotent
from catga_core.runtime import Intake, RetryPolicy
from catga_redis import RedisOptions
from catga_sqlite import SqliteOptions
from catga_testing import ManualClock
from catga_testing.waiting import eventually

NOT_SECONDS = [math.nan, math.inf, -math.inf, -1, True, "5", Decimal("0.5"), 10**400]
NOT_COUNTS = [math.nan, math.inf, -1, 1.5, True, "5", Decimal(1), None]

Call = Callable[[CatgaApp, Any], Any]


class OddAsk(Query[int]):
    pass


class OddAdded(Event):
    number: int


class OddTally(Aggregate):
    @apply
    def added(self, event: OddAdded) -> None: ...


class OddSums(Projection, name="odd_sums"):
    @project
    def added(self, event: OddAdded) -> None: ...

    async def reset(self) -> None: ...


async def ask(message: OddAsk) -> int:
    return 1


async def on_added(event: OddAdded) -> None: ...


async def read(app: CatgaApp, **options: Any) -> list[int]:
    return [each.version async for each in app.event_store.read("s", **options)]


async def hold(app: CatgaApp, **options: Any) -> None:
    async with app.get(Locks).hold("odd", **options):
        pass


def projections(app: CatgaApp) -> Projections:
    return app.get(Projections)


SECONDS: dict[str, Call] = {
    "timeout of send": lambda app, n: app.mediator.send(OddAsk(), timeout=n),
    "timeout of send_batch": lambda app, n: app.mediator.send_batch([OddAsk()], timeout=n),
    "lease": lambda app, n: hold(app, lease=n),
    "timeout": lambda app, n: hold(app, timeout=n),
    "timeout of wait_for": lambda app, n: projections(app).wait_for("odd_sums", 0, timeout=n),
    "timeout of caught_up": lambda app, n: projections(app).caught_up("odd_sums", timeout=n),
    "wait": lambda app, n: projections(app).rebuild("odd_sums", wait=n),
    "seconds": lambda app, n: after(n),
    "ttl": lambda app, n: idempotent(ttl=n),
    "patience": lambda app, n: MemoryStorage(patience=n),
    "seconds of TimeoutBehavior": lambda app, n: TimeoutBehavior(n),
    "delay_seconds": lambda app, n: RetryPolicy(delay_seconds=n),
    "within": lambda app, n: eventually(lambda: True, within=n),
    "every": lambda app, n: eventually(lambda: True, every=n),
    "seconds of advance": lambda app, n: ManualClock().advance(n),
    "timeout_seconds": lambda app, n: add_catga(CatgaOptions(timeout_seconds=n)),
    "outbox_lease_seconds": lambda app, n: add_catga(CatgaOptions(outbox_lease_seconds=n)),
    "lease_seconds": lambda app, n: OutboxOptions(lease_seconds=n),
    "wait_for_result": lambda app, n: IdempotencyOptions(wait_for_result=n),
    "lease_seconds of add_projection": lambda app, n: add_projection(add_catga(), OddSums, lease_seconds=n),
    "busy_timeout_seconds": lambda app, n: SqliteOptions("a.db", busy_timeout_seconds=n),
    "failed_after": lambda app, n: DeadLetterFilter(failed_after=n),
    "failed_before": lambda app, n: DeadLetterFilter(failed_before=n),
    "connect_timeout_seconds": lambda app, n: RedisOptions(connect_timeout_seconds=n),
}

COUNTS: dict[str, Call] = {
    "max_concurrent": lambda app, n: app.mediator.send_batch([OddAsk()], max_concurrent=n),
    "from_version": lambda app, n: read(app, from_version=n),
    "to_version": lambda app, n: read(app, to_version=0 if n is None else n),
    "limit": lambda app, n: read(app, limit=-1 if n is None else n),
    "after": lambda app, n: app.event_store.read_all(after=n),
    "expected_version": lambda app, n: app.event_store.append(
        "s", OddAdded(1), expected_version=-2 if n == -1 else n
    ),
    "position": lambda app, n: projections(app).wait_for("odd_sums", n),
    "limit of find": lambda app, n: app.get(DeadLetterQueue).find(limit=n),
    "attempts": lambda app, n: app.get(AggregateRepository[OddTally]).update("1", lambda _: None, attempts=n),
    "events": lambda app, n: every(n),
    "keep": lambda app, n: add_aggregate(add_catga(), OddTally, snapshots=every(1), keep=n),
    "version": lambda app, n: message(version=n),
    "from_version of upcaster": lambda app, n: upcaster("a", from_version=n),
    "max_attempts": lambda app, n: RetryPolicy(max_attempts=-1 if n is None else n),
    "limit of Intake": lambda app, n: Intake(n, lambda _: None, print, print),
    "max_event_bytes": lambda app, n: add_catga(CatgaOptions(max_event_bytes=n)),
    "batch_size": lambda app, n: OutboxOptions(batch_size=n),
    "attempts of add_projection": lambda app, n: add_projection(
        add_catga(), OddSums, attempts=-1 if n is None else n
    ),
    "readers": lambda app, n: SqliteOptions("a.db", readers=n),
    "wait_replicas": lambda app, n: RedisOptions(wait_replicas=n),
}


@pytest.fixture
async def app() -> Any:
    catga = add_catga(CatgaOptions(enable_dead_letter_queue=True))
    catga.add_handlers(ask)
    add_aggregate(catga, OddTally)
    add_projection(catga, OddSums)
    async with catga.running() as running:
        await running.event_store.append("s", OddAdded(1))
        yield running


async def refusal_of(call: Call, app: CatgaApp, number: object) -> str:
    with pytest.raises((ValueError, TypeError, ConfigurationError)) as refused:
        made = call(app, number)
        if isinstance(made, Awaitable):
            await asyncio.wait_for(made, 5)
    return str(refused.value)


@pytest.mark.parametrize("name", SECONDS)
async def test_seconds_that_cannot_be_are_refused_with_the_arguments_name(app: CatgaApp, name: str) -> None:
    for number in NOT_SECONDS:
        text = await refusal_of(SECONDS[name], app, number)
        assert name.split(maxsplit=1)[0] in text, (number, text)


@pytest.mark.parametrize("name", COUNTS)
async def test_counts_that_cannot_be_are_refused_with_the_arguments_name(app: CatgaApp, name: str) -> None:
    for number in NOT_COUNTS:
        text = await refusal_of(COUNTS[name], app, number)
        assert name.split(maxsplit=1)[0] in text, (number, text)


@pytest.mark.parametrize("number", [2**53, 10**400])
async def test_number_that_no_store_can_compare_is_refused_or_not_found(app: CatgaApp, number: int) -> None:
    calls: list[Call] = [
        lambda app, n: OutboxOptions(batch_size=n),
        lambda app, n: RedisOptions(batch_size=n),
        lambda app, n: add_projection(add_catga(), OddSums, batch_size=n),
        lambda app, n: add_subscription(add_catga(), "odd", on_added, start=n),
        lambda app, n: DeadLetterFilter(failed_after=n),
    ]
    for call in calls:
        await refusal_of(call, app, number)
    with pytest.raises(ConfigurationError, match="outbox_batch_size"):
        add_catga(CatgaOptions(outbox_batch_size=number))
    with pytest.raises(CatgaError) as missing:
        await app.get(AggregateRepository[OddTally]).state_at("s", number)
    assert missing.value.code == "NOT_FOUND"


@pytest.mark.parametrize("number", [1e308, sys.maxsize])
async def test_lease_that_no_store_can_keep_is_refused(app: CatgaApp, number: float) -> None:
    with pytest.raises(ValueError, match="lease of the lock 'odd'"):
        await hold(app, lease=number)
    await asyncio.wait_for(hold(app, timeout=number), 5)


@pytest.mark.parametrize("number", [2**53, sys.maxsize, 10**400])
async def test_version_beyond_every_stream_is_as_it_was_written(app: CatgaApp, number: int) -> None:
    assert await read(app, to_version=number, limit=number) == [1]
    assert await read(app, from_version=number) == []
    assert [each.version async for each in app.event_store.read_all(after=number)] == []
    with pytest.raises(ValueError, match="expected_version"):
        await app.event_store.append("s", OddAdded(1), expected_version=number)


@pytest.mark.parametrize("name", ["", "\ud800", "a\udfffb", 7, None])
async def test_name_without_bytes_is_refused(app: CatgaApp, name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        app.get(Locks).hold(name)
    with pytest.raises((ValueError, CatgaError)):
        await app.event_store.append(name, OddAdded(1))


@pytest.mark.parametrize(
    "options",
    [
        {"message_id": "\ud800"},
        {"headers": {"tenant": "\udfff"}},
        {"headers": {"\ud800": "a"}},
    ],
)
async def test_text_without_bytes_is_refused_where_it_is_sent(app: CatgaApp, options: Any) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        await app.mediator.send(OddAsk(), **options)
    with pytest.raises(ValueError, match="surrogate"):
        await app.mediator.publish(OddAdded(1), **options)


async def test_key_without_bytes_is_refused() -> None:
    @idempotent(key=lambda command: command.key)
    class OddPay(Command[int]):
        key: str

    async def pay(message: OddPay) -> int:
        return 1

    catga = add_catga()
    catga.add_handlers(pay)
    async with catga.running() as running:
        result = await running.mediator.send(OddPay("\ud800"))

    assert result.error.code == "INTERNAL_ERROR"
    assert "key of OddPay" in result.error.message
