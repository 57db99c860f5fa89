"""What cannot work is said at start, and nothing stays half declared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig
from structlog.testing import capture_logs

from catga_core.errors import CatgaError, ConfigurationError
from catga_nats import NatsOptions
from catga_nats.connection import NatsConnection
from catga_nats.jetstream import JetStreamOptions
from catga_nats.jetstream.api import call
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.streams import stream_config
from catga_testing.servers import NatsServer
from tests.nats.jetstream.support import Running, commands, events, ids, queued, receive

pytestmark = pytest.mark.nats


@pytest.fixture
async def client(jetstream_shared: NatsServer) -> AsyncIterator[Client]:
    connected = await nats.connect(jetstream_shared.url)
    yield connected
    await connected.close()


async def streams(client: Client, prefix: str) -> list[str]:
    found: list[str] = []
    # A page at a time: other tests have streams on the server, too.
    while page := await client.jetstream().streams_info(offset=len(found)):
        found += [str(each.config.name) for each in page]
    return sorted(name for name in found if prefix in name)


async def test_declaring_twice_changes_nothing(running: Running, client: Client) -> None:
    for _ in range(2):
        queues = await running.start()
        await queues.declare([events(), commands()])
        await queues.declare([events(), commands()])
    assert len(await streams(client, running.prefix)) == 5
    stream = await client.jetstream().stream_info(f"{running.prefix}_events")
    assert stream.config.max_age in {None, 0}
    assert stream.state.consumer_count == 9


async def test_streams_that_another_process_has_just_created_are_its_own(
    running: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = 1

    async def stream_config_before_another_process(
        connection: NatsConnection, name: str
    ) -> dict[str, Any] | None:
        nonlocal others
        found = await stream_config(connection, name)
        if others:
            others -= 1
            await running.start()
        return found

    monkeypatch.setattr("catga_nats.jetstream.streams.stream_config", stream_config_before_another_process)
    await running.start()
    assert len(await streams(client, running.prefix)) == 5


async def test_another_number_of_groups_is_refused(running: Running) -> None:
    await running.start(order_groups=8)

    with pytest.raises(ConfigurationError, match=r"order_groups.* have 8; got 4"):
        await running.start(order_groups=4)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"storage": "memory"}, "storage='file'"),
        ({"duplicate_window_seconds": 60.0}, "duplicate_window=120s"),
        ({"max_event_bytes": 1000}, "max_bytes=-1"),
        ({"result_seconds": 60.0}, "max_age=86400s"),
    ],
)
async def test_streams_with_other_settings_are_named(
    running: Running, options: dict[str, Any], setting: str
) -> None:
    await running.start()
    with pytest.raises(ConfigurationError, match="exists with") as raised:
        await running.start(**options)
    assert setting in str(raised.value)


async def test_a_consumer_with_another_lease_is_named(running: Running, client: Client) -> None:
    queues = await running.start()
    await queues.declare([events(lease=3.0)])
    other = await running.start()
    with pytest.raises(ConfigurationError, match="ack_wait=3s, and the options ask for 5s"):
        await other.declare([events("new"), events(lease=5.0)])
    # Not even the queue that could have been declared.
    stream = await client.jetstream().stream_info(f"{running.prefix}_events")
    assert stream.state.consumer_count == 9


async def test_a_queue_takes_more_messages_later(running: Running) -> None:
    queues = await running.start()
    await queues.declare([events("ship", "a")])
    await queues.declare([events("ship", "a", "b")])
    await queues.publish(queued("m1", name="b"))
    (got,) = await queues.receive(events().name, limit=1, timeout=5.0)
    assert got.message.name == "b"


async def test_a_queue_without_messages_has_no_consumers_until_it_takes_some(
    running: Running, client: Client
) -> None:
    queues = await running.start()
    audit = msgspec.structs.replace(events("audit"), messages=())
    await queues.declare([audit])
    stream = await client.jetstream().stream_info(f"{running.prefix}_events")
    assert stream.state.consumer_count == 0
    assert (await queues.stats())[audit.name].ready == 0
    receiving = asyncio.create_task(queues.receive(audit.name, limit=1, timeout=30.0))
    await asyncio.sleep(0)
    await queues.declare([events("audit", "a")])
    # Ended by the declaration, long before its timeout.
    assert await asyncio.wait_for(receiving, 10) == []
    await queues.publish(queued("m1", name="a"))
    assert ids(await receive(queues, audit, 1)) == ["m1"]
    await queues.publish(queued("m2", name="a"))
    # What was declared once is there for a process that knows no message yet.
    other = await running.start()
    await other.declare([audit])
    assert (await other.stats())[audit.name].ready == 2
    await queues.stop()
    assert sorted(ids(await receive(other, audit, 2))) == ["m1", "m2"]


async def test_subjects_of_another_stream_are_named(running: Running, client: Client) -> None:
    await client.jetstream().add_stream(
        StreamConfig(
            name=f"OWNER{running.prefix}",
            subjects=[f"{running.prefix}.js.command.x"],
            storage=StorageType.MEMORY,
        )
    )
    with pytest.raises(ConfigurationError, match=f"belongs to the stream OWNER{running.prefix}"):
        await running.start()
    assert await streams(client, running.prefix) == [f"OWNER{running.prefix}"]


async def test_replicas_without_a_cluster_are_refused_whole(running: Running, client: Client) -> None:
    with pytest.raises(ConfigurationError, match="cannot be created: replicas > 1"):
        await running.start(replicas=3)
    assert await streams(client, running.prefix) == []


async def test_too_little_storage(tmp_path: Path) -> None:
    small = {"jetstream": {"store_dir": str(tmp_path), "max_file_store": 1_000_000}}
    async with NatsServer(jetstream=True, extra_config=small) as server:
        with pytest.raises(ConfigurationError, match="cannot be created: insufficient storage"):
            await Running(server.url).start(max_event_bytes=10_000_000)
        client = await nats.connect(server.url)
        assert await client.jetstream().streams_info() == []
        await client.close()


async def test_no_jetstream_on_the_server() -> None:
    async with NatsServer() as server:
        with pytest.raises(ConfigurationError, match="has no JetStream for this account"):
            await Running(server.url).start()


async def test_an_account_without_permission() -> None:
    user = {"user": "u", "password": "p", "permissions": {"publish": ["_INBOX.>"], "subscribe": [">"]}}
    config = {"authorization": {"users": [user]}}
    async with NatsServer(jetstream=True, extra_config=config) as server:
        with pytest.raises(CatgaError, match=r"permission to publish to \$JS.API.INFO"):
            await Running(server.url.replace("//", "//u:p@")).start()


async def test_a_message_name_that_cannot_be_a_subject(running: Running) -> None:
    queues = await running.start()
    with pytest.raises(ConfigurationError, match="cannot be part of a NATS subject"):
        await queues.declare([events("ship", "no good")])


async def test_a_full_stream_refuses_and_drops_nothing(running: Running) -> None:
    queues = await running.start(max_event_bytes=2000)
    await queues.declare([events()])
    await queues.publish(queued("m1", data=b"x" * 1000))
    with pytest.raises(CatgaError, match="maximum bytes exceeded") as raised:
        await queues.publish(queued("m2", data=b"x" * 1000))
    assert raised.value.details["outcome"] == "not_written"
    assert [
        each.message.context.message_id for each in await queues.receive(events().name, limit=5, timeout=5)
    ] == ["m1"]


@pytest.mark.parametrize(
    "options",
    [
        {"replicas": 0},
        {"replicas": 6},
        {"replicas": 2},
        {"replicas": "3"},
        {"storage": "disk"},
        {"order_groups": 65},
        {"membership_seconds": 1},
        {"max_buffered": 0},
        {"max_buffered_bytes": 0},
        {"max_event_bytes": 0},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        JetStreamOptions(**options)


def test_options_of_jetstream_stand_beside_those_of_nats() -> None:
    assert NatsOptions("nats://a", jetstream=JetStreamOptions(replicas=3)).jetstream.replicas == 3


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, ["replicas=1"]),
        ({"storage": "memory"}, ["replicas=1", "storage='memory'"]),
        ({"duplicate_window_seconds": 9.0}, ["replicas=1", "duplicate_window_seconds=9"]),
    ],
)
async def test_settings_that_may_lose_messages_are_logged(
    running: Running, options: dict[str, Any], settings: list[str]
) -> None:
    with capture_logs() as log:
        await running.start(**options)
    (line,) = [each for each in log if each["event"] == "catga.jetstream_durability"]
    assert (line["log_level"], [*line["settings"]]) == ("warning", settings)


async def test_a_stream_that_sources_schedules_is_named(running: Running) -> None:
    first = await running.start()
    stream = Layout(running.prefix, 8).commands_stream
    config = {"name": f"{running.prefix}_copy", "sources": [{"name": stream}], "storage": "memory"}
    await call(first._connection, f"STREAM.CREATE.{config['name']}", config)
    with capture_logs() as log:
        await running.start()
    (line,) = [each for each in log if each["event"] == "catga.jetstream_durability"]
    assert f"the stream {running.prefix}_copy sources {stream}" in line["settings"]


@pytest.mark.parametrize("given", [{"schedules": "framework"}, 5, None])
def test_options_of_another_class_are_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="JetStreamOptions"):
        NatsOptions("nats://a", jetstream=given)


def test_three_replicas_on_disk_are_safe() -> None:
    assert JetStreamOptions(replicas=3).weaknesses == {}
