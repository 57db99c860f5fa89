"""Callers share a transaction and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, ErrorCode
from catga_core.errors import ConcurrencyError, MessageIdConflictError
from catga_core.interfaces import NO_STREAM, Stores
from catga_core.interfaces.queue import QueuedMessage, QueueStore
from catga_core.messages.message_context import MessageContext
from catga_sqlite import SqliteOptions, sqlite_stores
from tests.sqlite.support import append, log_of, prepare_writer, record


async def test_what_many_callers_append_at_once_shares_a_few_transactions(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    prepare_writer(monkeypatch, lambda connection: connection.set_trace_callback(statements.append))
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()

    await asyncio.gather(*(log_of(stores).append([append(f"order-{number}")]) for number in range(64)))
    await stores.storage.stop()

    assert 1 <= statements.count("COMMIT") <= 4


async def test_one_that_breaks_halfway_fails_alone(stores: Stores) -> None:
    log = log_of(stores)
    broken = append("broken", record(), record(recorded_at="now"))

    outcomes = await asyncio.gather(
        log.append([append("before")]),
        log.append([broken]),
        log.append([append("after", record(), record())]),
        return_exceptions=True,
    )

    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[2], list)
    assert isinstance(outcomes[1], CatgaError)
    assert "recorded_at" in outcomes[1].message
    assert not outcomes[1].retryable
    assert [await log.version(name) for name in ("before", "broken", "after")] == [1, 0, 2]


async def test_a_stream_that_was_begun_by_a_broken_append_is_begun_by_the_next(stores: Stores) -> None:
    log = log_of(stores)
    with pytest.raises(TypeError):
        await log.append([append("order-1", record(message_id=7))])  # type: ignore[arg-type]  # what no checker let through
    await log.append([append("order-2")])

    [result] = await log.append([append("order-1", expected=NO_STREAM)])

    assert result.version == 1
    assert [each.stream_id for each in await log.read_all(after=0, limit=10)] == ["order-2", "order-1"]


async def test_a_conflict_is_its_own_callers(stores: Stores) -> None:
    log = log_of(stores)

    outcomes = await asyncio.gather(
        *(log.append([append("order-1", expected=NO_STREAM)]) for _ in range(5)),
        log.append([append("order-2")]),
        return_exceptions=True,
    )

    assert [type(each) for each in outcomes[:5]].count(ConcurrencyError) == 4
    assert isinstance(outcomes[5], list)


async def test_a_caller_cancelled_before_its_turn_has_written_nothing(stores: Stores) -> None:
    log = log_of(stores)

    async def in_a_unit_of_work(began: asyncio.Event, go: asyncio.Event) -> None:
        async with stores.storage.unit_of_work():
            await log.append([append("holder")])
            began.set()
            await go.wait()

    began, go = asyncio.Event(), asyncio.Event()
    holding = asyncio.create_task(in_a_unit_of_work(began, go))
    await began.wait()
    waiting = [asyncio.create_task(log.append([append(name)])) for name in ("cancelled", "kept")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait({waiting[0]})
    go.set()
    await asyncio.gather(holding, waiting[1])

    assert [each.stream_id for each in await log.read_all(after=0, limit=10)] == ["holder", "kept"]


@pytest.mark.parametrize("how", ["append", "unit of work"])
async def test_who_waits_too_long_for_a_unit_of_work_is_told_whose_it_is(stores: Stores, how: str) -> None:
    log = log_of(stores)

    async def wait() -> None:
        if how == "append":
            await log.append([append("late")])
        else:
            async with stores.storage.unit_of_work():
                await log.append([append("late")])

    async def hold() -> None:
        async with stores.storage.unit_of_work():
            await log.append([append("holder")])
            with pytest.raises(CatgaError, match="slow_one") as raised:
                await asyncio.create_task(wait(), context=contextvars.Context())
            assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
            assert raised.value.retryable
            assert raised.value.details["outcome"] == "not_written"

    await asyncio.create_task(hold(), name="slow_one")

    assert [each.stream_id for each in await log.read_all(after=0, limit=10)] == ["holder"]


async def test_stopping_rolls_back_a_unit_of_work_that_does_not_end(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file, unit_of_work_timeout_seconds=0.1))
    await stores.storage.start()
    log = log_of(stores)
    began = asyncio.Event()

    async def hang() -> None:
        async with stores.storage.unit_of_work():
            await log.append([append("lost")])
            began.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await began.wait()
    start = time.monotonic()
    await stores.storage.stop()
    assert time.monotonic() - start < 5
    hanging.cancel()
    await asyncio.wait({hanging})

    again = sqlite_stores(SqliteOptions(file))
    await again.storage.start()
    assert await log_of(again).head() == 0
    await again.storage.stop()


async def test_stopping_finishes_what_was_asked_and_lets_a_unit_of_work_commit(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    log = log_of(stores)
    began, go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with stores.storage.unit_of_work():
            await log.append([append("in a unit")])
            began.set()
            await go.wait()
            await log.append([append("in a unit")])

    working = asyncio.create_task(work())
    await began.wait()
    asked = [asyncio.create_task(log.append([append(f"order-{number}")])) for number in range(3)]
    await asyncio.sleep(0)
    stopping = asyncio.create_task(stores.storage.stop())
    await asyncio.sleep(0)
    with pytest.raises(CatgaError, match="is not open") as raised:
        await log.append([append("too late")])
    go.set()
    await asyncio.gather(working, stopping, *asked)

    assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
    again = sqlite_stores(SqliteOptions(file))
    await again.storage.start()
    assert await log_of(again).head() == 5
    assert await log_of(again).version("in a unit") == 2
    await again.storage.stop()
    assert not await asyncio.to_thread(file.with_name("app.db-wal").exists)


async def test_a_storage_is_started_and_stopped_twice_without_harm(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.stop()
    for _ in range(2):
        await stores.storage.start()
        await stores.storage.start()
        await log_of(stores).append([append("order-1")])
        await asyncio.gather(stores.storage.stop(), stores.storage.stop())
        await stores.storage.stop()

    await stores.storage.start()
    assert await log_of(stores).version("order-1") == 2
    await stores.storage.stop()


async def test_stores_of_another_event_loop_are_refused(stores: Stores) -> None:
    async def elsewhere() -> Any:
        return await log_of(stores).head()

    with pytest.raises(CatgaError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, elsewhere())


async def test_a_queued_message_whose_caller_is_cancelled_leaves_the_others(stores: Stores) -> None:
    queue = stores[QueueStore]
    began, go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with stores.storage.unit_of_work():
            await queue.add(queued("holder"), queues=["bills"])
            began.set()
            await go.wait()

    holding = asyncio.create_task(hold())
    await began.wait()
    waiting = [
        asyncio.create_task(queue.add(queued(name), queues=["bills"])) for name in ("one", "cancelled", "two")
    ]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.wait({waiting[1]})
    go.set()
    await asyncio.gather(holding, waiting[0], waiting[2])

    assert await leased(queue) == ["holder", "one", "two"]


async def test_a_refused_message_is_its_own_callers(stores: Stores) -> None:
    queue = stores[QueueStore]
    await queue.add(queued("one", "a@1#aa"), queues=["bills"])

    outcomes = await asyncio.gather(
        queue.add(queued("two"), queues=["bills"]),
        # In none of its queues then.
        queue.add(queued("one", "a@1#bb"), queues=["others", "bills"]),
        queue.add(queued("three", key="k"), queues=["bills"]),
        queue.add(queued("two"), queues=["bills"]),
        return_exceptions=True,
    )

    assert [type(each) for each in outcomes] == [type(None), MessageIdConflictError, type(None), type(None)]
    assert await leased(queue) == ["one", "two", "three"]


async def test_a_queued_message_that_breaks_halfway_fails_alone(stores: Stores) -> None:
    queue = stores[QueueStore]
    broken = msgspec.structs.replace(queued("broken"), created_at="now")

    outcomes = await asyncio.gather(
        queue.add(queued("before"), queues=["bills"]),
        queue.add(broken, queues=["bills"]),
        queue.add(queued("after"), queues=["bills"]),
        return_exceptions=True,
    )

    assert [isinstance(each, CatgaError) for each in outcomes] == [False, True, False]
    assert await leased(queue) == ["before", "after"]


def queued(message_id: str, fingerprint: str = "", key: str | None = None) -> QueuedMessage:
    return QueuedMessage(
        "bill", 1, "json", b"{}", MessageContext(message_id, "c"), 0.0, 1.0, key, fingerprint=fingerprint
    )


async def leased(queue: QueueStore) -> list[str]:
    found = await queue.lease({"bills": 10, "others": 10}, lease=60)
    return [each.message.context.message_id for each in found]
