"""Enqueue until handled: commands of a container and tasks of other queues, each as durable as its defaults allow.

Peers of Redis share one Valkey with us (append-only file, one fsync a second), those of SQLite commit with fsync as we do. Worker,
callers and server share one CPU. Every peer runs its worker in this process with 64 tasks at a time, or with 8 threads where it has no
event loop. A peer that is not installed is named and left out; procrastinate needs PostgreSQL. Run it alone with
`python -m benchmarks.queue_peers`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from benchmarks.measure import Row, paired, table
from catga_core import CatgaContainer, CatgaOptions, Command, add_catga
from catga_core.reliability import QueueOptions, add_queues
from catga_sqlite import SqliteOptions, add_sqlite_catga
from catga_testing.servers import ValkeyServer

COUNT = 320
AT_ONCE = 64
THREADS = 8
ORDER, NOTE = "order-123456", "thank you for your order"


class Handled:
    """Counts what was handled, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()

    def expect(self) -> None:
        self._left = COUNT
        self._done.clear()

    def one(self) -> None:
        with self._lock:
            self._left -= 1
            done = self._left == 0
        if done:
            self._loop.call_soon_threadsafe(self._done.set)

    async def wait(self) -> None:
        async with asyncio.timeout(120):
            await self._done.wait()


Enqueue: TypeAlias = Callable[[], Awaitable[object]]
"""Enqueues all messages of a slice."""
Peer: TypeAlias = Callable[[str, Handled], AbstractAsyncContextManager[Enqueue]]
"""Runs a worker that counts; takes the URL of the server, or the path of a folder."""


def by_tasks(enqueue: Callable[[], Awaitable[object]]) -> Enqueue:
    async def caller() -> None:
        for _ in range(COUNT // AT_ONCE):
            await enqueue()

    async def all_of_them() -> None:
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))

    return all_of_them


@asynccontextmanager
async def by_threads(enqueue: Callable[[], object]) -> AsyncGenerator[Enqueue]:
    def caller() -> None:
        for _ in range(COUNT // THREADS):
            enqueue()

    with ThreadPoolExecutor(THREADS) as threads:
        loop = asyncio.get_running_loop()

        async def all_of_them() -> None:
            await asyncio.gather(*(loop.run_in_executor(threads, caller) for _ in range(THREADS)))

        yield all_of_them


class Remind(Command[None]):
    order_id: str
    note: str


@asynccontextmanager
async def ours(catga: CatgaContainer, handled: Handled) -> AsyncGenerator[Enqueue]:
    """Catga keeps a command until its handler has ended, and for a day that it was done; another process takes over after a crash."""
    add_queues(catga, QueueOptions(concurrency=AT_ONCE))

    async def remind(_command: Remind) -> None:
        handled.one()

    catga.add_handlers(remind)
    async with catga.running() as app:
        command = Remind(ORDER, NOTE)
        yield by_tasks(lambda: app.mediator.enqueue(command))


@asynccontextmanager
async def taskiq(url: str, handled: Handled) -> AsyncGenerator[Enqueue]:
    """taskiq over a Redis stream: acknowledged after the task, claimed again after ten idle minutes; without results or retries."""
    from taskiq.receiver import Receiver
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(url)

    @broker.task
    async def remind(order_id: str, note: str) -> None:
        handled.one()

    await broker.startup()
    finish = asyncio.Event()
    receiver = Receiver(broker, max_async_tasks=AT_ONCE, run_startup=False)
    worker = asyncio.create_task(receiver.listen(finish))
    try:
        yield by_tasks(lambda: remind.kiq(ORDER, NOTE))
    finally:
        finish.set()
        _, left = await asyncio.wait([worker], timeout=4)
        # It may wait for a lock of its own for ever: without its connection it ends.
        worker.cancel()
        await broker.shutdown()
        if left:
            await asyncio.wait(left, timeout=10)


@asynccontextmanager
async def saq(url: str, handled: Handled) -> AsyncGenerator[Enqueue]:
    """SAQ: the job is in Redis until it is swept after its end; one whose worker died is found by the sweep, and ends or is retried."""
    from saq import Queue, Worker

    async def remind(_context: Any, *, order_id: str, note: str) -> None:
        handled.one()

    queue = Queue.from_url(url, name="bench")
    await queue.connect()
    worker: Any = Worker(queue, functions=[("remind", remind)], concurrency=AT_ONCE)
    worker.SIGNALS = []
    running = asyncio.create_task(worker.start())
    try:
        yield by_tasks(lambda: queue.enqueue("remind", order_id=ORDER, note=NOTE))
    finally:
        await worker.stop()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await queue.disconnect()


@asynccontextmanager
async def dramatiq(url: str, handled: Handled) -> AsyncGenerator[Enqueue]:
    """dramatiq: acknowledged after the actor, given to another worker after a minute without a heartbeat; retried on failure."""
    from dramatiq import Worker, actor
    from dramatiq.brokers.redis import RedisBroker

    make_broker: Any = RedisBroker
    declare: Any = actor
    broker = make_broker(url=url)

    def remind(order_id: str, note: str) -> None:
        handled.one()

    task = declare(remind, broker=broker)
    worker: Any = Worker(broker, worker_threads=THREADS)
    worker.start()
    try:
        async with by_threads(lambda: task.send(ORDER, NOTE)) as enqueue:
            yield enqueue
    finally:
        worker.stop()
        broker.close()


@asynccontextmanager
async def celery(url: str, handled: Handled) -> AsyncGenerator[Enqueue]:
    """Celery with `acks_late`: acknowledged after the task, delivered again an hour after its worker died; no results."""
    from celery import Celery
    from celery.contrib.testing.worker import start_worker

    app: Any = Celery("bench", broker=url)
    app.conf.update(task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=4)

    @app.task(name="bench.remind")
    def remind(order_id: str, note: str) -> None:
        handled.one()

    with start_worker(
        app, pool="threads", concurrency=THREADS, perform_ping_check=False, shutdown_timeout=30
    ):
        async with by_threads(lambda: remind.delay(ORDER, NOTE)) as enqueue:
            yield enqueue
    app.close()


@asynccontextmanager
async def huey(folder: str, handled: Handled) -> AsyncGenerator[Enqueue]:
    """Huey in SQLite with `fsync`: a task is removed when a worker takes it, so that one whose process dies is lost; no results."""
    from huey import SqliteHuey

    app: Any = SqliteHuey(filename=str(Path(folder) / "huey.db"), fsync=True, results=False)

    def remind(order_id: str, note: str) -> None:
        handled.one()

    task: Any = app.task()(remind)
    consumer: Any = app.create_consumer(workers=THREADS, initial_delay=0.01, max_delay=0.01, periodic=False)
    consumer.start()
    try:
        async with by_threads(lambda: task(ORDER, NOTE)) as enqueue:
            yield enqueue
    finally:
        consumer.stop(graceful=True)
        app.storage.close()


ON_REDIS: dict[str, tuple[Peer, str]] = {
    "taskiq": (taskiq, "taskiq_redis"),
    "SAQ": (saq, "saq"),
    "dramatiq": (dramatiq, "dramatiq"),
    "Celery": (celery, "celery"),
}
ON_SQLITE: dict[str, tuple[Peer, str]] = {"Huey": (huey, "huey")}


def installed(peers: dict[str, tuple[Peer, str]]) -> Iterator[tuple[str, Peer]]:
    from importlib.util import find_spec

    for name, (peer, module) in peers.items():
        if find_spec(module) is None:
            print(f"{name} is not installed: it is not measured")
        else:
            yield name, peer


async def _row(store: str, name: str, catga: CatgaContainer, peer: Peer, place: str, rounds: int) -> Row:
    handled, of_peer = Handled(), Handled()

    async def slice_of(enqueue: Enqueue, counted: Handled) -> float:
        counted.expect()
        began = time.perf_counter()
        await enqueue()
        await counted.wait()
        return time.perf_counter() - began

    async with ours(catga, handled) as by_catga, peer(place, of_peer) as by_peer:
        ratio, our, limit = await paired(
            lambda: slice_of(by_catga, handled), lambda: slice_of(by_peer, of_peer), rounds=rounds
        )
    return Row(f"enqueue until handled, {store} / {name}", ratio, COUNT / our, COUNT / limit, "commands/s")


async def measure(rounds: int) -> list[Row]:
    """Measure every peer that is installed.

    Args:
        rounds: How many slices of ours.
    """
    rows: list[Row] = []
    for name, peer in installed(ON_REDIS):
        async with ValkeyServer(appendfsync="everysec") as server:
            catga = add_catga(CatgaOptions(store=server.url))
            rows.append(await _row("Redis", name, catga, peer, server.url, rounds))
    for name, peer in installed(ON_SQLITE):
        with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
            catga = add_catga()
            add_sqlite_catga(catga, SqliteOptions(Path(folder) / "ours.db", synchronous="FULL"))
            rows.append(await _row("SQLite", name, catga, peer, folder, rounds))
    return rows


def run(rounds: int = 5) -> list[Row]:
    """Measure every peer that is installed, on servers of our own.

    Args:
        rounds: How many slices of ours.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    # Peers log how they are stopped.
    logging.disable(logging.ERROR)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        return asyncio.run(measure(rounds))
    finally:
        os.sched_setaffinity(0, before)
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Queues of others.")
    parser.add_argument("--rounds", type=int, default=5)
    print(table(run(parser.parse_args().rounds)))
