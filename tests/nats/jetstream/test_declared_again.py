"""Streams and consumers that vanish under a running process are declared again."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Self

import pytest

from catga_nats.jetstream.api import call
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.queues import JetStreamQueues
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.jetstream.support import Running, commands, consume, events, ids, queued, receive

pytestmark = pytest.mark.nats

SHIP = events()
BILL = commands()


class Consuming:
    """A process that handles both queues."""

    def __init__(self, queues: JetStreamQueues) -> None:
        self.seen: list[str] = []
        self._queues = queues
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._queues.declare([SHIP, BILL])
        self._tasks = [asyncio.create_task(consume(self._queues, each, self.seen)) for each in (SHIP, BILL)]
        await self.handles("first")
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def handles(self, word: str) -> None:
        """Send an event with a key, one without and a command, and wait until they are handled."""

        async def handled() -> bool:
            # Under their ids, until each is kept.
            await self._queues.publish(queued(f"{word}-keyed", key="k"))
            await self._queues.publish(queued(f"{word}-any"))
            await self._queues.enqueue(queued(f"{word}-bill", name="orders.bill"))
            return {*self.seen} >= {f"{word}-keyed", f"{word}-any", f"{word}-bill"}

        await eventually(handled, within=15, every=0.1)


async def test_consumers_that_are_deleted(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    queues = await running.start(order_groups=2)
    async with Consuming(queues) as consuming:
        layout = Layout(running.prefix, 2)
        for stream in (layout.events_stream, layout.commands_stream):
            names = (await call(queues._connection, f"CONSUMER.NAMES.{stream}"))["consumers"]
            for each in names:
                await call(queues._connection, f"CONSUMER.DELETE.{stream}.{each}")
        assert queues._intake.reader(SHIP.name).sources
        await eventually(lambda: all_there(queues, layout), within=15)
        await consuming.handles("second")
    assert "catga.jetstream_declared_again" in "".join(capsys.readouterr())


async def test_streams_that_are_deleted(running: Running) -> None:
    queues = await running.start(order_groups=2)
    async with Consuming(queues) as consuming:
        layout = Layout(running.prefix, 2)
        for stream in (layout.events_stream, layout.commands_stream, f"KV_{layout.state_bucket}"):
            await call(queues._connection, f"STREAM.DELETE.{stream}")
        await eventually(lambda: all_there(queues, layout), within=15)
        await consuming.handles("second")


async def test_a_publish_finds_its_stream_again(running: Running) -> None:
    web = await running.start()
    await web.publish(queued("m1"))
    await call(web._connection, f"STREAM.DELETE.{Layout(running.prefix, 8).events_stream}")
    await web.publish(queued("m2"))


async def test_a_server_that_comes_back_empty(server: NatsServer, tmp_path: Path) -> None:
    running = Running(server.url)
    queues = await running.start(order_groups=2)
    other = await running.start(order_groups=2)
    await other.declare([SHIP, BILL])
    async with Consuming(queues) as consuming:
        await server.kill()
        shutil.rmtree(tmp_path / "jetstream")
        await server.restart()
        await eventually(lambda: all_there(queues, Layout(running.prefix, 2)), within=15)
        await consuming.handles("second")
        keyed = [each for each in consuming.seen if each.endswith("keyed")]
        assert len(keyed) == len({*keyed})
    await running.stop()


async def all_there(queues: JetStreamQueues, layout: Layout) -> bool:
    events_ = await call(queues._connection, f"CONSUMER.NAMES.{layout.events_stream}")
    commands_ = await call(queues._connection, f"CONSUMER.NAMES.{layout.commands_stream}")
    return bool(events_["total"] == 3 and commands_["total"] == 5)


async def test_delayed_commands_go_on_as_they_were_declared(running: Running) -> None:
    # By the framework, also when the next process could leave it to the server.
    await (await running.start(schedules="framework")).stop()
    queues = await running.start()
    await queues.declare([BILL])
    await call(queues._connection, f"STREAM.DELETE.{Layout(running.prefix, 8).commands_stream}")
    await queues.enqueue(queued("now", name="orders.bill"))
    await queues.enqueue(queued("later", name="orders.bill", due_at=time.time() + 0.5))
    got = await receive(queues, BILL, 2)
    assert ids(got) == ["now", "later"]
