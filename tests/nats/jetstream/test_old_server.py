"""A nats-server without schedules: processes publish what is due themselves."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from catga_core.errors import ConfigurationError
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.streams import stream_config
from catga_testing.servers import NatsServer
from tests.nats.jetstream.support import Running, commands, events, ids, queued, receive

PROGRAM = os.environ.get("OLD_NATS_SERVER", "")

pytestmark = [
    pytest.mark.nats,
    pytest.mark.skipif(not PROGRAM, reason="nox -s tests installs it"),
]


@pytest.fixture
async def old_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(jetstream=True, store_dir=tmp_path / "old", program=Path(PROGRAM)) as server:
        yield server


async def test_queues_and_schedules_work_without_its_help(old_server: NatsServer) -> None:
    running = Running(old_server.url)
    with capture_logs() as log:
        queues = await running.start()
    (line,) = [each for each in log if each["event"] == "catga.jetstream_durability"]
    assert any(each.startswith("nats-server 2.11.") for each in line["settings"])
    bill, ship = commands(), events()
    await queues.declare([bill, ship])
    due = time.time() + 1.0
    await queues.enqueue(queued("later", name="orders.bill", due_at=due))
    await queues.enqueue(queued("never", name="orders.bill", due_at=due))
    await queues.publish(queued("m1", key="k"))
    assert ids(await receive(queues, ship, 1)) == ["m1"]
    assert await queues.cancel(bill.name, "never")
    (got,) = await receive(queues, bill, 1)
    assert (ids([got]), time.time() >= due) == (["later"], True)
    await running.stop()


async def test_a_server_that_is_made_newer_keeps_the_way_that_was_declared(
    old_server: NatsServer, tmp_path: Path
) -> None:
    running = Running(old_server.url)
    await (await running.start()).stop()
    await old_server.close()
    async with NatsServer(jetstream=True, store_dir=tmp_path / "old") as newer:
        running.url = newer.url
        queues = await running.start()
        config = await stream_config(queues._connection, Layout(running.prefix, 8).commands_stream)
        assert config is not None
        assert not config.get("allow_msg_schedules")
        await queues.declare([commands()])
        await queues.enqueue(queued("later", name="orders.bill", due_at=time.time() + 0.5))
        assert ids(await receive(queues, commands(), 1)) == ["later"]
        await running.stop()


async def test_schedules_of_the_server_are_refused(old_server: NatsServer) -> None:
    running = Running(old_server.url, schedules="server")
    with pytest.raises(ConfigurationError, match=r"2\.12"):
        await running.start()
