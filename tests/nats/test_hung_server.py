"""A server that hangs is left, and senders do not wait for it past their deadlines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from catga_core.messages.results import Success
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.connection_support import QUICK, answer_blob, state
from tests.nats.support import Add, Blob, Endpoint, adder, count, running, send, transport

pytestmark = pytest.mark.nats


async def test_a_hung_server_is_told_by_health_and_left(nats_server: NatsServer) -> None:
    async with running(nats_server.url, adder(), ping_interval=0.2, connect_timeout=1.0, **QUICK) as both:
        nats_server.blocking.stop()
        asking = asyncio.create_task(send(both, Add(1, 2), timeout=1.5))
        await eventually(lambda: count(both, "servers_hung") >= 1, within=5)
        await eventually(lambda: state(both) == "reconnecting")
        error = (await asking).error
        assert error.code == "TRANSPORT_FAILED"
        nats_server.blocking.resume()
        await eventually(lambda: state(both) == "connected", within=10)
        assert (await send(both, Add(1, 2))).is_success


async def test_attempts_that_a_hung_server_does_not_answer_leave_no_socket_open(
    nats_server: NatsServer,
) -> None:
    """nats-py forgets the socket of such an attempt."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not show a process's open files")

    def sockets() -> int:
        return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())

    async with running(nats_server.url, ping_interval=0.1, connect_timeout=0.2, **QUICK) as made:
        await nats_server.stop()
        connection = made._connection
        assert connection is not None
        await eventually(lambda: state(made) == "reconnecting")
        await eventually(lambda: connection._attempts >= 3)
        before = sockets()
        await eventually(lambda: connection._attempts >= 12, within=10)
        assert sockets() <= before + 1
        await nats_server.resume()
        await eventually(lambda: state(made) == "connected", within=10)


async def test_health_says_stale_while_a_ping_is_unanswered(nats_server: NatsServer) -> None:
    async with running(nats_server.url, ping_interval=30.0) as made:
        connection = made._connection
        assert connection is not None
        await connection._watch.stop(cancel=True)
        await nats_server.stop()
        connection._watch.start()
        await eventually(lambda: state(made) == "stale", within=5)
        health = made.health()
        assert health.status == "degraded"
        assert "has not answered a ping for" in health.description
        await nats_server.resume()
        await eventually(lambda: state(made) == "connected")


async def test_a_hung_server_with_megabytes_unsent_blocks_nobody_past_its_deadline(
    nats_server: NatsServer,
) -> None:
    data = b"x" * 500_000
    async with running(nats_server.url, ping_interval=1.0, connect_timeout=1.0, **QUICK) as sender:
        await nats_server.stop()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*(send(sender, Blob(data), timeout=0.5) for _ in range(40)))
        assert {result.error.code for result in results} <= {"TIMEOUT", "TRANSPORT_FAILED"}
        await eventually(lambda: state(sender) == "reconnecting", within=10)
        await nats_server.resume()
        await eventually(lambda: state(sender) == "connected", within=10)


async def test_senders_that_wait_for_the_buffer_go_on_when_the_server_reads(nats_server: NatsServer) -> None:
    data = b"x" * 500_000
    async with running(nats_server.url, Endpoint(Blob, answer_blob), ping_interval=30.0) as both:
        await nats_server.stop()
        sending = [asyncio.create_task(send(both, Blob(data), timeout=20)) for _ in range(80)]
        await eventually(lambda: both._connected()._room.waiting > 0)
        sending[20].cancel()
        sending[79].cancel()
        await nats_server.resume()
        async with asyncio.timeout(15):
            results = await asyncio.gather(*sending, return_exceptions=True)
        done = [each for each in results if isinstance(each, Success)]
        assert len(done) == 78, [each for each in results if not isinstance(each, Success)]


async def test_senders_that_wait_for_the_buffer_fail_when_the_server_hangs(nats_server: NatsServer) -> None:
    data = b"x" * 500_000
    async with running(nats_server.url, ping_interval=30.0) as sender:
        connection = sender._connected()
        await connection._watch.stop(cancel=True)
        await nats_server.stop()
        sending = [asyncio.create_task(send(sender, Blob(data), timeout=20)) for _ in range(80)]
        await eventually(lambda: connection._room.waiting > 0)
        connection._watch.start()
        await eventually(lambda: state(sender) == "stale" and connection._room.waiting == 0, within=5)
        await eventually(lambda: any(each.done() for each in sending))
        errors = [each.result().error for each in sending if each.done()]
        assert {error.code for error in errors} == {"TRANSPORT_FAILED"}
        assert all("does not read" in error.message for error in errors)
        await nats_server.resume()
        for each in sending:
            each.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def test_closing_does_not_wait_for_a_hung_server(nats_server: NatsServer) -> None:
    made = transport(nats_server.url)
    await made.connect()
    await nats_server.stop()
    results = await asyncio.gather(*(send(made, Blob(b"x" * 500_000), timeout=0.2) for _ in range(10)))
    assert not any(result.is_success for result in results)
    async with asyncio.timeout(10):
        await made.drain(0.5)
        await made.close()


async def test_a_late_pong_does_not_end_the_connection(nats_server: NatsServer) -> None:
    """nats-py 2.16 sets the result of a ping that has timed out, and its read loop ends by that."""
    async with running(nats_server.url, adder(), ping_interval=30.0) as both:
        assert both._connection is not None
        client = both._connection.client
        assert client is not None
        await nats_server.stop()
        with pytest.raises(TimeoutError):
            await client.flush(timeout=0.1)  # type: ignore[arg-type]
        await nats_server.resume()
        await eventually(lambda: not client._pongs)
        assert (await send(both, Add(1, 2))).is_success
