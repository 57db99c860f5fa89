from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from catga_core.interfaces import Inbound, MessageContext
from catga_core.messages.results import CatgaResult, Success
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
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


async def test_running_handlers_finish_and_their_answers_arrive(nats_server_shared: NatsServer) -> None:
    gate = Gate()
    receiver = transport(nats_server_shared.url, subject_prefix="d1")
    await receiver.connect()
    await receiver.serve(Inbound("s", [Endpoint(Slow, gate)], [], 100))
    async with running(nats_server_shared.url, subject_prefix="d1") as sender:
        asking = [asyncio.create_task(send(sender, Slow(number))) for number in range(10)]
        await eventually(lambda: gate.entered == 10)
        draining = asyncio.create_task(receiver.drain(10))
        await eventually(lambda: receiver._listeners[0]._stopping)
        # Nobody listens any more: this one is told at once.
        assert (await send(sender, Slow(99))).error.code == "HANDLER_NOT_FOUND"
        gate.open.set()
        await draining
        await receiver.close()
        assert all(result.is_success for result in await asyncio.gather(*asking))


async def test_what_does_not_finish_in_time_is_cancelled_and_answered(nats_server_shared: NatsServer) -> None:
    gate = Gate()
    receiver = transport(nats_server_shared.url, subject_prefix="d2")
    await receiver.connect()
    await receiver.serve(Inbound("s", [Endpoint(Slow, gate)], [], 100))
    async with running(nats_server_shared.url, subject_prefix="d2") as sender:
        asking = [asyncio.create_task(send(sender, Slow(number), timeout=30)) for number in range(10)]
        await eventually(lambda: gate.entered == 10)
        async with asyncio.timeout(10):
            await receiver.drain(0.2)
            await receiver.close()
            results = await asyncio.gather(*asking)
    errors = {
        (result.error.code, result.error.retryable, result.error.details["outcome"]) for result in results
    }
    assert errors == {("TRANSPORT_FAILED", True, "unknown")}
    assert count(receiver, "requests_abandoned") == 10


async def test_own_pending_requests_get_a_clear_error(nats_server_shared: NatsServer) -> None:
    gate = Gate()
    async with running(nats_server_shared.url, Endpoint(Slow, gate), subject_prefix="d3"):
        sender = transport(nats_server_shared.url, subject_prefix="d3")
        await sender.connect()
        asking = asyncio.create_task(send(sender, Slow(1), timeout=30))
        await eventually(lambda: gate.entered == 1)
        await sender.drain(0.1)
        error = (await asking).error
        assert (error.code, error.details["outcome"]) == ("TRANSPORT_FAILED", "unknown")
        assert "shutting down" in error.message
        await sender.close()
        gate.open.set()


async def test_handlers_can_send_and_publish_while_draining(nats_server_shared: NatsServer) -> None:
    go = asyncio.Event()
    entered = asyncio.Event()
    heard: list[int] = []
    receiver = transport(nats_server_shared.url, subject_prefix="d4")

    async def forward(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        entered.set()
        await go.wait()
        await publish(receiver, Happened(message.number))
        return await send(receiver, Add(message.number, 1))

    async def listen(event: Happened, context: MessageContext) -> None:
        heard.append(event.number)

    await receiver.connect()
    await receiver.serve(Inbound("s", [Endpoint(Slow, forward)], [], 10))
    listener = Endpoint(Happened, listen)
    async with running(nats_server_shared.url, adder(), events=(listener,), subject_prefix="d4") as other:
        asking = asyncio.create_task(send(other, Slow(1)))
        await entered.wait()
        draining = asyncio.create_task(receiver.drain(5))
        await eventually(lambda: receiver._listeners[0]._stopping)
        go.set()
        await draining
        await receiver.close()
        assert await asking == Success(Sum(2))
        await eventually(lambda: heard == [1])


async def test_waiting_events_are_handled_or_counted(nats_server_shared: NatsServer) -> None:
    handled: list[int] = []

    async def handle(event: Happened, context: MessageContext) -> None:
        await asyncio.sleep(0.001)
        handled.append(event.number)

    for timeout in (10.0, 0.05):
        handled.clear()
        receiver = transport(nats_server_shared.url, subject_prefix=f"d5-{int(timeout)}")
        await receiver.connect()
        await receiver.serve(Inbound("s", [adder()], [Endpoint(Happened, handle)], 2))
        for number in range(400):
            await publish(receiver, Happened(number))
        assert (await send(receiver, Add(1, 2))).is_success
        await receiver.drain(timeout)
        assert len(handled) + count(receiver, "events_dropped") == 400
        assert (count(receiver, "events_dropped") == 0) == (timeout == 10.0)
        await receiver.close()


@pytest.mark.parametrize("waits", [True, False])
async def test_drain_under_load_loses_no_accepted_request(
    nats_server_shared: NatsServer, waits: bool
) -> None:
    """Replicas come and go under load: every sender gets a result, or is told at once that it was not started."""
    handled: dict[int, int] = {}

    async def handle(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        if waits:
            await asyncio.sleep(0.002)
        handled[message.left] = handled.get(message.left, 0) + 1
        return Success(Sum(message.left))

    prefix = f"d6-{waits}"
    numbers = iter(range(1_000_000))
    outcomes: dict[str, int] = {}
    stop = False
    async with running(nats_server_shared.url, subject_prefix=prefix) as sender:

        async def worker() -> None:
            while not stop:
                number = next(numbers)
                result = await send(sender, Add(number, 0), timeout=10)
                outcome = "ok" if result.is_success else result.error.details["outcome"]
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                if not result.is_success:
                    assert number not in handled
                    await asyncio.sleep(0.001)

        workers = [asyncio.create_task(worker()) for _ in range(50)]
        for _ in range(8):
            receiver = transport(nats_server_shared.url, subject_prefix=prefix)
            await receiver.connect()
            await receiver.serve(Inbound("s", [Endpoint(Add, handle)], [], 1000))
            await asyncio.sleep(0.08)
            await receiver.drain(5)
            await receiver.close()
        stop = True
        await asyncio.gather(*workers)
    print(f"drain under load: {outcomes}, handled {len(handled)}")
    # Not started: nobody listened, or (seldom) the server delivered it after it had confirmed our leaving.
    assert set(outcomes) <= {"ok", "not_started"}
    assert outcomes["ok"] == len(handled) > 100
    assert set(handled.values()) == {1}


async def test_what_swallows_its_cancellation_is_left_behind_and_told_with_its_count(
    nats_server_shared: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()

    async def swallow(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        while True:
            try:
                return await gate(message, context)
            except asyncio.CancelledError:
                continue

    receiver = transport(nats_server_shared.url, subject_prefix="d7")
    await receiver.connect()
    await receiver.serve(Inbound("s", [Endpoint(Slow, swallow)], [], 100))
    async with running(nats_server_shared.url, subject_prefix="d7") as sender:
        asking = [asyncio.create_task(send(sender, Slow(number), timeout=1.0)) for number in range(3)]
        await eventually(lambda: gate.entered == 3)
        async with asyncio.timeout(10):
            await receiver.drain(0.1)
            await receiver.close()
        gate.open.set()
        assert {result.error.code for result in await asyncio.gather(*asking)} == {"TIMEOUT"}
    logged = "".join(capsys.readouterr())
    assert "catga.stop_failed" in logged
    assert "left=3" in logged


async def test_a_client_that_never_closes_does_not_keep_the_transport_from_closing(
    nats_server_shared: NatsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = asyncio.Event()
    made = transport(nats_server_shared.url, subject_prefix="d8")
    await made.connect()
    connection = made._connection
    assert connection is not None
    assert connection.client is not None
    client = connection.client
    closing = client.close

    async def hang() -> None:
        while not stuck.is_set():
            with suppress(asyncio.CancelledError):
                await stuck.wait()
        await closing()

    monkeypatch.setattr(client, "close", hang)
    monkeypatch.setattr("catga_nats.connection._CLOSE_WITHIN", 0.05)
    monkeypatch.setattr("catga_nats.connection._CUT_WITHIN", 0.05)
    try:
        async with asyncio.timeout(10):
            await made.drain(0.0)
            await made.close()
    finally:
        # A task that does not end keeps its event loop, and the tests with it.
        stuck.set()
    await eventually(lambda: client.is_closed)
    assert "the NATS client does not close" in "".join(capsys.readouterr())


async def test_a_flush_that_never_ends_does_not_keep_a_drain(
    nats_server_shared: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = transport(nats_server_shared.url, subject_prefix="d9")
    await made.connect()
    await made.serve(Inbound("s", [adder()], [], 100))
    connection = made._connection
    assert connection is not None

    async def hang(timeout: float) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(connection.client, "flush", hang)
    async with asyncio.timeout(2):
        await made.drain(0.2)
    monkeypatch.undo()
    await made.close()
