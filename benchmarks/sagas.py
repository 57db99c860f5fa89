"""Sagas of three trivial steps over each store.

The limits do what a hand-written saga would at least do: in memory three awaits and four dictionary writes, in SQLite four durable writes
to a lean table, in Redis as many writes of redis-py. Run it alone with `python -m benchmarks sagas`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import redis.asyncio as redis

from benchmarks.measure import Row, paired
from benchmarks.sqlite_stores import Lean, LeanThread
from catga_core import CatgaContainer, CatgaOptions, add_catga
from catga_core.sagas import Saga, SagaContext, SagaExecutor, SagaOptions, add_sagas
from catga_redis import RedisOptions, add_redis_catga
from catga_sqlite import SqliteOptions, add_sqlite_catga
from catga_testing.servers import ValkeyServer
from catga_testing.waiting import eventually

AT_ONCE = 64
WRITES = 4
WAITING = 100_000


class Order(msgspec.Struct):
    number: int


async def _step() -> int:
    return 1


class Trivial(Saga[Order, int]):
    async def execute(self, data: Order, saga: SagaContext) -> int:
        first = await saga.step("first", _step)
        second = await saga.step("second", _step)
        third = await saga.step("third", _step)
        return first + second + third


@asynccontextmanager
async def _executor(catga: CatgaContainer) -> AsyncGenerator[SagaExecutor]:
    add_sagas(catga, Trivial)
    async with catga.running() as app:
        yield app.get(SagaExecutor)


async def _callers(operation: Callable[[], Awaitable[object]], count: int, callers: int) -> float:
    async def caller() -> None:
        for _ in range(count // callers):
            await operation()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - began


def _sagas(executor: SagaExecutor) -> Callable[[], Awaitable[object]]:
    numbers = iter(range(10**9))

    async def one() -> None:
        number = next(numbers)
        result = await executor.execute(f"order-{number}", Order(number), Trivial)
        assert result.returned == 3

    return one


async def _memory(rounds: int) -> Row:
    count = 200
    async with _executor(add_catga(CatgaOptions(service_name="bench"))) as executor:
        one = _sagas(executor)
        table: dict[object, object] = {}
        numbers = iter(range(10**9))

        async def by_hand() -> None:
            number = next(numbers)
            table[number] = Order(number)
            total = 0
            for step in ("first", "second", "third"):
                value = await _step()
                table[number, step] = value
                total += value
            assert total == 3

        async def limit() -> float:
            return await _callers(by_hand, count, 1)

        ratio, ours, theirs = await paired(lambda: _callers(one, count, 1), limit, rounds=rounds)
    title = "in memory, one caller / three awaits and four dictionary writes, as time"
    return Row(title, 1 / ratio, ours / count * 1e6, theirs / count * 1e6, "µs", "<= 3")


async def _sqlite(rounds: int, callers: int) -> Row:
    count = 20 if callers == 1 else callers * 4
    with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
        catga = add_catga(CatgaOptions(service_name="bench"))
        add_sqlite_catga(catga, SqliteOptions(Path(folder) / "ours.db", synchronous="FULL"))
        async with _executor(catga) as executor:
            thread = LeanThread(Lean(Path(folder) / "lean.db", "FULL"), asyncio.get_running_loop())
            one = _sagas(executor)
            numbers = iter(range(10**9))

            async def by_hand() -> None:
                for _ in range(WRITES):
                    await thread.append("saga", next(numbers))

            async def ours() -> float:
                return await _callers(one, count, callers)

            async def limit() -> float:
                return await _callers(by_hand, count, callers)

            ratio, our, theirs = await paired(ours, limit, rounds=rounds)
            thread.stop()
    if callers == 1:
        title = "SQLite, one caller / four durable writes, as time"
        return Row(title, 1 / ratio, our / count * 1e6, theirs / count * 1e6, "µs", "<= 1.6")
    title = f"SQLite, {callers} callers / a thread that commits each of four writes"
    return Row(title, ratio, count / our, count / theirs, "sagas/s", ">= 5")


async def _redis(rounds: int) -> Row:
    count = AT_ONCE * 8
    async with ValkeyServer() as server:
        catga = add_catga(CatgaOptions(service_name="bench"))
        add_redis_catga(catga, RedisOptions(server.url, enable_saga_persistence=True))
        async with _executor(catga) as executor, redis.Redis.from_url(server.url) as client:
            one = _sagas(executor)
            numbers = iter(range(10**9))

            async def by_hand() -> None:
                # What a hand-written saga has to keep, each time in one round trip: an entry, its state, and when its lease ends.
                key = f"saga:{next(numbers)}"
                for count in range(WRITES):
                    together = client.pipeline(transaction=True)
                    # They return the pipeline itself here.
                    _ = together.rpush(f"{key}:journal", b"x" * 60)
                    _ = together.hset(
                        key, mapping={"state": "running", "entries": count, "owner": "process-1"}
                    )
                    _ = together.zadd("sagas:leases", {key: time.time() + 30})
                    await together.execute()

            async def ours() -> float:
                return await _callers(one, count, AT_ONCE)

            async def limit() -> float:
                return await _callers(by_hand, count, AT_ONCE)

            ratio, our, theirs = await paired(ours, limit, rounds=rounds)
    title = f"Redis, {AT_ONCE} callers / redis-py that awaits four transactions of three commands each"
    return Row(title, ratio, count / our, count / theirs, "sagas/s", ">= 3")


class Waiting(Saga[Order, int]):
    async def execute(self, data: Order, saga: SagaContext) -> int:
        first = await saga.step("first", _step)
        await saga.sleep(3600)
        return first


async def _waiting(rounds: int) -> Row:
    """Measure the start of a process with many waiting sagas, compared to a scan of their rows."""
    with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
        file = Path(folder) / "ours.db"

        def container() -> CatgaContainer:
            catga = add_catga(CatgaOptions(service_name="bench"))
            add_sqlite_catga(catga, SqliteOptions(file, synchronous="NORMAL"))
            add_sagas(catga, Waiting, options=SagaOptions(linger_seconds=0.001))
            return catga

        async with container().running() as app:
            executor = app.get(SagaExecutor)
            numbers = iter(range(10**9))

            async def start() -> None:
                number = next(numbers)
                await executor.start(f"order-{number}", Order(number), Waiting)

            await _callers(start, WAITING, AT_ONCE)
            await eventually(lambda: not executor.runs.count, within=60)

        async def ours() -> float:
            began = time.perf_counter()
            async with container().running():
                return time.perf_counter() - began

        async def limit() -> float:
            began = time.perf_counter()
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("SELECT * FROM catga_sagas").fetchall()
            return time.perf_counter() - began

        ratio, our, theirs = await paired(ours, limit, rounds=rounds)
    title = f"SQLite, start over {WAITING:,} waiting sagas / a scan of their rows, as time"
    return Row(title, 1 / ratio, our * 1e3, theirs * 1e3, "ms", "<= 2")


def run(rounds: int) -> list[Row]:
    """Measure every row."""
    return [
        asyncio.run(_memory(rounds)),
        asyncio.run(_sqlite(rounds, 1)),
        asyncio.run(_sqlite(rounds, AT_ONCE)),
        asyncio.run(_redis(rounds)),
        asyncio.run(_waiting(rounds)),
    ]
