"""A transport connects within its limit, reconnects, and reports what it did not send."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from typing import Any

import pytest

from catga_core.errors import CatgaError
from catga_core.interfaces import Inbound
from catga_core.messages.results import Success
from catga_testing.servers import Link, NatsServer, UserAuth
from catga_testing.waiting import eventually
from tests.nats.connection_support import QUICK, state, succeeds
from tests.nats.support import (
    Add,
    Endpoint,
    Gate,
    Happened,
    Slow,
    Sum,
    adder,
    count,
    publish,
    running,
    send,
    transport,
)

pytestmark = pytest.mark.nats


async def test_start_fails_in_time_and_names_servers_cause_and_mend() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        made = transport(f"nats://me:s3cret@127.0.0.1:{port},localhost:{port}", connect_timeout=0.4)
        async with asyncio.timeout(10):
            with pytest.raises(CatgaError) as error:
                await made.connect()
        await made.close()
    text = error.value.message
    assert error.value.code == "TRANSPORT_FAILED"
    assert f"127.0.0.1:{port}" in text
    assert f"localhost:{port}" in text
    assert "s3cret" not in text
    assert "0.4 s" in text
    assert "start a server" in text


async def test_start_fails_in_time_when_the_peer_accepts_and_says_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    left = asyncio.Event()
    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        made = transport(f"nats://127.0.0.1:{port}", connect_timeout=0.4)
        async with asyncio.timeout(10):
            with pytest.raises(CatgaError, match="no NATS server answered"):
                await made.connect()
        await left.wait()
        await made.close()


async def test_start_waits_within_its_time_for_a_server_that_comes_later() -> None:
    async with NatsServer() as server:
        url = server.url
        await server.kill()
        made = transport(url, connect_timeout=10.0)
        starting = asyncio.create_task(made.connect())
        await server.restart()
        await starting
        assert made.health().status == "healthy"
        await made.close()


async def test_start_takes_the_server_that_lives() -> None:
    async with NatsServer() as dead, NatsServer() as server:
        await dead.kill()
        async with running(f"{dead.url},{server.url}", adder()) as both:
            assert (await send(both, Add(1, 2))).is_success


async def test_before_the_start_and_after_the_end_everything_fails_clearly(
    nats_server_shared: NatsServer,
) -> None:
    made = transport(nats_server_shared.url)
    assert (made.health().status, state(made)) == ("unhealthy", "new")
    assert (await send(made, Add(1, 2))).error.code == "TRANSPORT_FAILED"
    with pytest.raises(CatgaError, match="not started"):
        await publish(made, Happened(1))
    await made.connect()
    assert (made.health().status, state(made)) == ("healthy", "connected")
    await made.drain(1)
    await made.close()
    await made.close()
    assert (made.health().status, state(made)) == ("unhealthy", "closed")
    error = (await send(made, Add(1, 2))).error
    assert (error.code, error.details["outcome"]) == ("TRANSPORT_FAILED", "not_sent")
    with pytest.raises(CatgaError, match="closed"):
        await publish(made, Happened(1))


async def test_health_names_server_and_round_trip_when_connected(nats_server: NatsServer) -> None:
    async with running(nats_server.url, ping_interval=0.05) as made:
        await eventually(lambda: made.health().details["rtt_ms"] is not None)
        health = made.health()
        assert nats_server.name in health.description
        assert health.details["server"] == nats_server.name
        assert 0 < health.details["rtt_ms"] < 1000


async def test_while_disconnected_fail_refuses_at_once_and_recovers(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(nats_server.url, adder(), **QUICK) as both:
        await nats_server.kill()
        await eventually(lambda: state(both) == "reconnecting")
        assert both.health().status == "unhealthy"
        assert "reconnecting for" in both.health().description
        async with asyncio.timeout(10):
            error = (await send(both, Add(1, 2), timeout=20)).error
            assert (error.code, error.retryable, error.details["outcome"]) == (
                "TRANSPORT_FAILED",
                True,
                "not_sent",
            )
            with pytest.raises(CatgaError, match="no connection to NATS"):
                await publish(both, Happened(1))
        await nats_server.restart()
        await eventually(lambda: state(both) == "connected", within=10)
        assert await send(both, Add(1, 2)) == Success(Sum(3))
        assert count(both, "connections_lost") == 1
    logged = "".join(capsys.readouterr())
    assert logged.count("catga.connection_lost") == 1
    assert logged.count("catga.connection_restored") == 1


async def test_while_disconnected_wait_sends_when_the_server_is_back(nats_server: NatsServer) -> None:
    handled: list[int] = []

    async def handle(event: Happened, context: Any) -> None:
        handled.append(event.number)

    events = (Endpoint(Happened, handle),)
    async with running(nats_server.url, adder(), events=events, while_disconnected="wait", **QUICK) as both:
        await nats_server.kill()
        await eventually(lambda: state(both) == "reconnecting")
        requests = [asyncio.create_task(send(both, Add(n, 0), timeout=15)) for n in range(20)]
        published = asyncio.create_task(publish(both, Happened(7)))
        await nats_server.restart()
        assert [result.unwrap().total for result in await asyncio.gather(*requests)] == list(range(20))
        await published
        await eventually(lambda: handled == [7])


async def test_while_disconnected_wait_gives_up_at_the_deadline(nats_server: NatsServer) -> None:
    async with running(nats_server.url, while_disconnected="wait", request_timeout=0.3, **QUICK) as sender:
        await nats_server.kill()
        await eventually(lambda: state(sender) == "reconnecting")
        async with asyncio.timeout(10):
            error = (await send(sender, Add(1, 2), timeout=0.3)).error
            assert (error.code, error.details["outcome"]) == ("TRANSPORT_FAILED", "not_sent")
            with pytest.raises(CatgaError):
                await publish(sender, Happened(1))
            with pytest.raises(CatgaError):
                await publish(sender, Happened(1), deadline=time.time() + 0.1)


async def test_a_pending_request_fails_with_an_unknown_outcome_when_the_connection_is_lost(
    nats_server: NatsServer,
) -> None:
    gate = Gate()
    async with running(nats_server.url, Endpoint(Slow, gate), **QUICK) as both:
        asking = asyncio.create_task(send(both, Slow(1), timeout=30))
        await eventually(lambda: gate.entered == 1)
        async with asyncio.timeout(10):
            await nats_server.kill()
            error = (await asking).error
        assert (error.code, error.retryable, error.details["outcome"]) == (
            "TRANSPORT_FAILED",
            True,
            "unknown",
        )
        assert "may or may not" in error.message
        gate.open.set()
        await nats_server.restart()
        await eventually(lambda: state(both) == "connected", within=10)


@pytest.mark.parametrize("while_disconnected", ["fail", "wait"])
async def test_nobody_listens_is_no_final_answer_shortly_after_an_outage(
    nats_server: NatsServer, while_disconnected: str
) -> None:
    options: dict[str, Any] = {**QUICK, "while_disconnected": while_disconnected}
    late: dict[str, Any] = {**options, "reconnect_wait": 0.5}
    async with (
        running(nats_server.url, adder(), **late) as receiver,
        running(nats_server.url, **options) as sender,
    ):
        await nats_server.kill()
        await eventually(lambda: state(sender) == state(receiver) == "reconnecting")
        await nats_server.restart()
        await eventually(lambda: state(sender) == "connected", within=10)
        result = await send(sender, Add(1, 2))
        if while_disconnected == "wait":
            assert result == Success(Sum(3))
        elif not result.is_success:
            assert (result.error.code, result.error.details["outcome"]) == ("TRANSPORT_FAILED", "not_started")
            assert result.error.retryable
        await eventually(lambda: state(receiver) == "connected", within=10)
        # The server may read its subscriptions a little later.
        await eventually(lambda: succeeds(sender, Add(1, 2)))
        await eventually(lambda: not sender._connected().settling)
        assert (await send(sender, Slow(1))).error.code == "HANDLER_NOT_FOUND"


async def test_a_pending_request_waits_for_its_answer_over_the_next_connection_where_told_to_wait(
    nats_server: NatsServer,
) -> None:
    gate = Gate()
    async with running(nats_server.url, Endpoint(Slow, gate), while_disconnected="wait", **QUICK) as both:
        asking = asyncio.create_task(send(both, Slow(1), timeout=20))
        await eventually(lambda: gate.entered == 1)
        await nats_server.kill()
        await eventually(lambda: state(both) == "reconnecting")
        await nats_server.restart()
        await eventually(lambda: state(both) == "connected", within=10)
        gate.open.set()
        assert (await asking).is_success


async def test_draining_and_closing_while_reconnecting_neither_raise_nor_hang(
    nats_server: NatsServer,
) -> None:
    gate = Gate()
    made = transport(nats_server.url, while_disconnected="wait", **QUICK)
    await made.connect()
    await made.serve(Inbound("s", [Endpoint(Slow, gate)], [], 10))
    asking = asyncio.create_task(send(made, Slow(1), timeout=30))
    await eventually(lambda: gate.entered == 1)
    await nats_server.kill()
    await eventually(lambda: state(made) == "reconnecting")
    async with asyncio.timeout(10):
        await made.drain(0.3)
        await made.close()
    assert (await asking).error.code == "TRANSPORT_FAILED"


async def test_a_link_that_is_cut_again_and_again_is_mended_each_time(nats_server: NatsServer) -> None:
    async with Link(nats_server.url) as link, running(link.url, adder(), **QUICK) as both:
        for round_ in range(5):
            await link.cut()
            await eventually(lambda: state(both) == "reconnecting")
            await link.restore()
            await eventually(lambda: state(both) == "connected")
            assert (await send(both, Add(round_, 0))).is_success
        assert count(both, "connections_lost") == 5


async def test_credentials_that_the_server_takes_back_and_gives_again() -> None:
    """nats-py closes for good on such an error; the transport comes back all the same."""
    async with NatsServer(auth=UserAuth("me", "one")) as server:
        config = server.blocking.process.log.parent
        async with running(server.url, adder(), user="me", password="one", **QUICK) as both:
            files = [path for path in config.rglob("*") if path.suffix in {".conf", ".json"}]
            assert files, list(config.rglob("*"))
            path = files[0]
            text = path.read_text()
            path.write_text(text.replace("one", "two"))
            os.kill(server.pid, signal.SIGHUP)
            await eventually(lambda: state(both) == "reconnecting", within=5)
            path.write_text(text)
            os.kill(server.pid, signal.SIGHUP)
            await eventually(lambda: state(both) == "connected", within=10)
            assert (await send(both, Add(1, 2))).is_success


async def test_a_logger_that_raises_does_not_end_the_connection(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a callback raises ends nats-py's read loop for good."""

    def broken() -> Any:
        raise RuntimeError

    async with running(nats_server.url, adder(), **QUICK) as both:
        monkeypatch.setattr("catga_nats.connection.logger", broken)
        monkeypatch.setattr("catga_nats.inbound.logger", broken)
        await nats_server.kill()
        await eventually(lambda: state(both) == "reconnecting")
        await nats_server.restart()
        await eventually(lambda: state(both) == "connected", within=10)
        connection = both._connection
        assert connection is not None
        assert connection.client is not None
        connection.client.send(b"catga.request.Add", b"", b"\xc1", None)
        connection.client.send(b"catga.request.Add", b"", b"", {"catga-format": "x"})
        assert (await send(both, Add(1, 2))).is_success
