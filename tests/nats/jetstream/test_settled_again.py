"""A server that was killed may have a message in its stream again that is settled."""

from __future__ import annotations

import shutil
from pathlib import Path

import nats
import pytest

from catga_core.interfaces.queue import QueueState
from catga_testing.servers import NatsServer
from tests.nats.jetstream.support import Running, commands, ids, nothing, queued, receive

pytestmark = pytest.mark.nats

BILL = "orders.bill"


async def test_a_settled_command_that_is_in_the_stream_again_does_not_wait(tmp_path: Path) -> None:
    store, before, bill = tmp_path / "store", tmp_path / "before", commands()
    async with NatsServer(jetstream=True, store_dir=store) as server:
        running = Running(server.url)
        queues = await running.start()
        await queues.declare([bill])
        for each in ("m1", "m2"):
            await queues.enqueue(queued(each, name=BILL))
        [stream] = store.rglob(f"{running.prefix}_commands")
        shutil.copytree(stream / "msgs", before)
        (got,) = await receive(queues, bill, 1)
        assert ids([got]) == ["m1"]
        await queues.complete(got)
        await running.stop()
    shutil.rmtree(stream / "msgs")
    shutil.copytree(before, stream / "msgs")

    async with NatsServer(jetstream=True, store_dir=store) as server:
        again = Running(server.url)
        again.prefix = running.prefix
        queues = await again.start()
        assert await _in_stream(server, running) == 2
        assert await queues.get(bill.name, "m1") is None
        found = await queues.find()
        assert [(each.message.context.message_id, each.state) for each in found.entries] == [
            ("m2", QueueState.READY)
        ]
        await queues.declare([bill])
        assert ids(await receive(queues, bill, 1)) == ["m2"]
        assert await nothing(queues, bill)
        await again.stop()


async def _in_stream(server: NatsServer, running: Running) -> int:
    client = await nats.connect(server.url)
    try:
        return (await client.jetstream().stream_info(f"{running.prefix}_commands")).state.messages
    finally:
        await client.close()
