"""What the server denies after the connection stands is an error at once, and health says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core.errors import CatgaError, Outcome
from catga_core.interfaces.health import HealthStatus
from catga_core.messages import Command, message
from catga_core.messages.results import Success
from catga_nats import NatsTransport
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Add, Endpoint, Gate, Happened, Sum, adder, count, publish, running, send

pytestmark = pytest.mark.nats

EVERYTHING: dict[str, Any] = {"publish": ">", "subscribe": ">"}


class Guarded:
    """A server whose user `cli` has permissions that a test changes."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        host = server.url.removeprefix("nats://")
        self.service = f"nats://svc:p@{host}"
        self.client = f"nats://cli:p@{host}"

    async def permit(self, permissions: dict[str, Any]) -> None:
        """Have the running server read its configuration again."""
        config = self._server.blocking.process.directory / "server.conf"
        entries = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(json.dumps({**entries, **users(permissions)}), encoding="utf-8")
        reloads = self._reloads()
        os.kill(self._server.pid, signal.SIGHUP)
        await eventually(lambda: self._reloads() > reloads)

    def _reloads(self) -> int:
        return self._server.log.read_text(errors="replace").count("Reloaded server configuration")


@message(name="add")
class SmallAdd(Command[Sum], frozen=True):
    left: int
    right: int


class Hold(Command[Sum], frozen=True):
    pass


def users(permissions: dict[str, Any]) -> dict[str, Any]:
    service = {"user": "svc", "password": "p"}
    client = {"user": "cli", "password": "p", "permissions": permissions}
    return {"authorization": {"users": [service, client]}}


@asynccontextmanager
async def guarded(permissions: dict[str, Any]) -> AsyncGenerator[Guarded]:
    async with NatsServer(extra_config=users(permissions)) as server:
        yield Guarded(server)


def status(transport: NatsTransport) -> HealthStatus:
    return transport.health().status


async def test_denied_request_fails_at_once_and_names_the_subject() -> None:
    async with (
        guarded({"publish": {"deny": "catga.request.Add"}}) as server,
        running(server.service, adder()),
        running(server.client) as sender,
    ):
        began = time.monotonic()
        with capture_logs() as logs:
            results = await asyncio.gather(*(send(sender, Add(1, number), timeout=20) for number in range(5)))

        assert time.monotonic() - began < 5
        for result in results:
            assert result.error.code == "TRANSPORT_FAILED"
            assert not result.error.retryable
            assert result.error.outcome is Outcome.NOT_SENT
            assert result.error.details["subject"] == "catga.request.Add"
            assert "permission" in result.error.message
        health = sender.health()
        assert health.status is HealthStatus.DEGRADED
        assert health.details["denied"] == ["publish to catga.request.Add"]
        assert [line["subject"] for line in logs if line["event"] == "catga.permission_denied"] == [
            "catga.request.Add"
        ]


async def test_denied_event_raises_at_its_publisher() -> None:
    async with guarded({"publish": {"deny": "catga.event.>"}}) as server, running(server.client) as sender:
        for number in range(3):
            with pytest.raises(CatgaError) as caught:
                await publish(sender, Happened(number))

            assert caught.value.code == "TRANSPORT_FAILED"
            assert not caught.value.retryable
            assert caught.value.details["subject"] == "catga.event.Happened"
        assert status(sender) is HealthStatus.DEGRADED


async def test_denial_of_a_subject_that_differs_in_case_leaves_the_other_alone() -> None:
    # nats-py makes the server's error text small.
    gate = Gate()
    async with (
        guarded({"publish": {"deny": "catga.request.add"}}) as server,
        running(server.service, Endpoint(Add, gate)),
        running(server.client) as sender,
    ):
        waiting = asyncio.create_task(send(sender, Add(1, 2)))
        await eventually(lambda: gate.entered == 1)

        assert (await send(sender, SmallAdd(1, 2))).error.details["subject"] == "catga.request.add"

        assert not waiting.done()
        gate.open.set()
        assert (await waiting).is_success


@pytest.mark.parametrize("denied", ["catga.request.Add", "catga.event.>", "_INBOX.>"])
async def test_denied_subscription_fails_the_start(denied: str) -> None:
    async with guarded({"subscribe": {"deny": denied}}) as server:
        with pytest.raises(CatgaError) as caught:
            async with running(server.client, adder(), events=(Endpoint(Happened, Gate()),)):
                pass

    assert caught.value.code == "TRANSPORT_FAILED"
    assert not caught.value.retryable
    assert caught.value.details["permission"] == "subscribe"
    assert "permission" in caught.value.message


async def test_too_many_subscriptions_fail_the_start() -> None:
    async with NatsServer(extra_config={"max_subscriptions": 1}) as server:
        with pytest.raises(CatgaError, match="subscribe") as caught:
            async with running(server.url, adder()):
                pass

    assert caught.value.code == "TRANSPORT_FAILED"


async def test_permission_taken_from_a_running_sender_is_noticed_and_so_is_its_return() -> None:
    async with (
        guarded(EVERYTHING) as server,
        running(server.service, adder()),
        running(server.client) as sender,
    ):
        assert await send(sender, Add(1, 2)) == Success(Sum(3))
        await publish(sender, Happened(1))
        assert status(sender) is HealthStatus.HEALTHY

        await server.permit({"publish": {"deny": ["catga.request.>", "catga.event.>"]}})
        refused = await send(sender, Add(1, 2), timeout=20)
        assert refused.error.details["subject"] == "catga.request.Add"
        await publish(sender, Happened(2))  # away before the server refuses it
        await eventually(lambda: "publish to catga.event.Happened" in sender.health().details["denied"])
        with pytest.raises(CatgaError):
            await publish(sender, Happened(3))
        assert status(sender) is HealthStatus.DEGRADED

        await server.permit(EVERYTHING)
        assert await send(sender, Add(1, 2)) == Success(Sum(3))
        await publish(sender, Happened(4))
        assert status(sender) is HealthStatus.HEALTHY


async def test_requests_under_way_survive_the_loss_of_the_permission() -> None:
    gate = Gate()
    async with (
        guarded(EVERYTHING) as server,
        running(server.service, adder(), Endpoint(Hold, gate)),
        running(server.client) as sender,
    ):
        assert await send(sender, Add(1, 2)) == Success(Sum(3))
        # The answer tells that the subject is permitted.
        gate.open.set()
        assert (await send(sender, Hold())).is_success
        gate.open.clear()
        waiting = asyncio.create_task(send(sender, Hold(), timeout=20))
        await eventually(lambda: gate.entered == 2)

        await server.permit({"publish": {"deny": "catga.request.Hold"}})
        refused = await send(sender, Hold(), timeout=20)

        assert refused.error.outcome is Outcome.UNKNOWN
        assert not waiting.done()
        gate.open.set()
        assert (await waiting).is_success
        # An answer to a request from before proves nothing.
        assert status(sender) is HealthStatus.DEGRADED


async def test_subscription_taken_from_a_running_service_is_noticed_and_so_is_its_return() -> None:
    async with (
        guarded(EVERYTHING) as server,
        running(server.client, adder(), ping_interval=0.2) as service,
        running(server.service) as sender,
    ):
        await server.permit({"subscribe": {"deny": "catga.request.Add"}})
        await eventually(lambda: status(service) is HealthStatus.DEGRADED)
        assert service.health().details["denied"] == ["subscribe to catga.request.Add"]
        assert (await send(sender, Add(1, 2))).error.code == "HANDLER_NOT_FOUND"

        await server.permit(EVERYTHING)
        await eventually(lambda: status(service) is HealthStatus.HEALTHY)
        assert await send(sender, Add(1, 2)) == Success(Sum(3))


async def test_inbox_taken_from_a_running_sender_fails_its_requests_at_once() -> None:
    gate = Gate()
    async with (
        guarded(EVERYTHING) as server,
        running(server.service, adder(), Endpoint(Hold, gate)) as service,
        running(server.client, ping_interval=0.2) as sender,
    ):
        waiting = asyncio.create_task(send(sender, Hold(), timeout=60))
        await eventually(lambda: gate.entered == 1)

        await server.permit({"subscribe": {"deny": "_INBOX.>"}})
        async with asyncio.timeout(20):
            under_way = await waiting
        gate.open.set()
        received = count(service, "requests_received")
        async with asyncio.timeout(20):
            refused = await send(sender, Add(1, 2), timeout=60)

        # Nobody can say what became of the first; the second was not sent.
        assert under_way.error.outcome is Outcome.UNKNOWN
        assert refused.error.outcome is Outcome.NOT_SENT
        assert refused.error.details["permission"] == "subscribe"
        assert count(service, "requests_received") == received
        assert status(sender) is HealthStatus.DEGRADED

        await server.permit(EVERYTHING)
        await eventually(lambda: status(sender) is HealthStatus.HEALTHY)
        assert await send(sender, Add(1, 2)) == Success(Sum(3))


async def test_service_that_may_not_answer_counts_and_logs_it() -> None:
    async with (
        guarded({"publish": {"deny": "_INBOX.>"}}) as server,
        running(server.client, adder()) as service,
        running(server.service) as sender,
    ):
        with capture_logs() as logs:
            for _ in range(2):
                assert (await send(sender, Add(1, 2), timeout=0.3)).error.code == "TIMEOUT"

        assert count(service, "replies_lost") == 2
        assert status(service) is HealthStatus.DEGRADED
        assert service.health().details["denied"] == ["publish responses"]
        assert len([line for line in logs if line["event"] == "catga.permission_denied"]) == 1


async def test_denials_are_asked_for_again_after_a_reconnection(nats_server: NatsServer) -> None:
    async with running(nats_server.url, adder(), reconnect_wait=0.05, reconnect_jitter=0.0) as both:
        await publish(both, Happened(1))
        await nats_server.restart()
        await eventually(lambda: count(both, "connections_lost") == 1)
        await eventually(lambda: both.health().details["state"] == "connected")
        await publish(both, Happened(2))
        assert count(both, "permissions_denied") == 0


async def test_hung_server_does_not_hold_up_a_publisher(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as sender:
        await nats_server.stop()
        began = time.monotonic()
        await publish(sender, Happened(1), deadline=time.time() + 0.2)
        assert time.monotonic() - began < 1.5
        await nats_server.resume()
