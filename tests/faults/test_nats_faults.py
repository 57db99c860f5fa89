"""The NATS transport under load while servers and replicas die. Each test prints what became of every request."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Command,
    HealthStatus,
    Query,
    RequestHandler,
    add_catga,
    current_context,
)
from catga_core.interfaces import MessageContext
from catga_core.messages.results import CatgaResult, Success
from catga_nats import NatsTransport, add_nats_catga
from catga_testing.servers import NatsCluster, NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Add, Endpoint, Slow, Sum, running, send

pytestmark = [pytest.mark.nats, pytest.mark.slow]

QUICK: dict[str, Any] = {
    "reconnect_wait": 0.1,
    "reconnect_jitter": 0.05,
    "connect_timeout": 2.0,
    "ping_interval": 0.5,
}
PATIENCE = 2.0  # seconds each request may take
TOLERANCE = 0.5  # and how much later it may end, on a busy machine


class Deposited(msgspec.Struct, frozen=True):
    number: int
    message_id: str
    correlation_id: str
    seen_there: str


class Load:
    """Sends without a pause, each request again with the same number until it succeeds, and keeps count."""

    def __init__(self, sender: NatsTransport, workers: int = 32) -> None:
        self.outcomes: Counter[str] = Counter()
        self.done: set[int] = set()
        self.longest = 0.0
        self._sender = sender
        self._next = 0
        self._stop = False
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]

    async def _work(self) -> None:
        while not self._stop:
            number, self._next = self._next, self._next + 1
            while True:
                start = time.monotonic()
                result = await send(self._sender, Add(number, 1), timeout=PATIENCE)
                self.longest = max(self.longest, time.monotonic() - start)
                if result.is_success:
                    assert result.value == Sum(number + 1)
                    self.outcomes["ok"] += 1
                    self.done.add(number)
                    break
                self.outcomes[f"{result.error.code}/{result.error.details.get('outcome', '')}"] += 1
                assert result.error.code in {"TIMEOUT", "TRANSPORT_FAILED", "HANDLER_NOT_FOUND"}
                await asyncio.sleep(0.02)

    async def progress(self, requests: int = 200) -> None:
        """Wait until so many more have succeeded."""
        wanted = self.outcomes["ok"] + requests
        await eventually(lambda: self.outcomes["ok"] >= wanted, within=20)

    async def finish(self) -> None:
        self._stop = True
        async with asyncio.timeout(20):
            await asyncio.gather(*self._workers)

    def report(self, what: str, handled: Counter[int]) -> None:
        again = sum(times - 1 for times in handled.values())
        print(
            f"\n{what}: {len(self.done)} requests done, {dict(self.outcomes)}, "
            f"handled more than once {again}, longest {self.longest:.2f} s"
        )
        assert self.done == set(range(self._next))
        assert self.done <= set(handled)
        assert self.longest < PATIENCE + TOLERANCE


def counting(handled: Counter[int]) -> Endpoint:
    async def handle(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        handled[message.left] += 1
        await asyncio.sleep(0.001)
        return Success(Sum(message.left + message.right))

    return Endpoint(Add, handle)


def state(made: NatsTransport) -> Any:
    return made.health().details["state"]


def url_of(made: NatsTransport) -> str:
    connection = made._connection
    assert connection is not None
    assert connection.client is not None
    url = connection.client.connected_url
    return "" if url is None else f"nats://{url.netloc}"


@pytest.mark.parametrize("while_disconnected", ["fail", "wait"])
async def test_server_killed_and_restarted_under_load(
    nats_server: NatsServer, while_disconnected: str
) -> None:
    handled: Counter[int] = Counter()
    options: dict[str, Any] = {**QUICK, "while_disconnected": while_disconnected}
    async with (
        running(nats_server.url, counting(handled), limit=1000, **options) as receiver,
        running(nats_server.url, **options) as sender,
    ):
        load = Load(sender)
        for _ in range(3):
            await load.progress()
            await nats_server.kill()
            await eventually(lambda: state(sender) == "reconnecting" and state(receiver) == "reconnecting")
            await nats_server.restart()
            await eventually(
                lambda: state(sender) == "connected" and state(receiver) == "connected", within=10
            )
        await load.progress()
        await load.finish()
        load.report(f"server killed and restarted 3 times ({while_disconnected})", handled)
        assert sender.health().details["connections_lost"] == 3
        assert sender.health().details["requests_waiting"] == 0


@pytest.mark.cluster
@pytest.mark.timeout(120)
async def test_one_of_three_nodes_killed_and_another_stopped_under_load(nats_cluster: NatsCluster) -> None:
    handled: Counter[int] = Counter()
    servers = ",".join(nats_cluster.urls)
    nodes = {node.url: node for node in nats_cluster.nodes}
    async with (
        running(servers, counting(handled), limit=1000, **QUICK) as first,
        running(servers, counting(handled), limit=1000, **QUICK) as second,
        running(servers, **QUICK) as sender,
    ):
        load = Load(sender)
        await load.progress()
        killed = nodes[url_of(sender)]
        await killed.kill()
        await eventually(lambda: url_of(sender) not in {"", killed.url}, within=15)
        await load.progress()
        stopped = nodes[url_of(sender)]
        await stopped.stop()
        await eventually(lambda: url_of(sender) not in {"", killed.url, stopped.url}, within=20)
        for receiver in (first, second):
            await eventually(lambda: url_of(receiver) not in {"", killed.url, stopped.url}, within=20)  # noqa: B023
        await load.progress()
        await stopped.resume()
        await killed.restart()
        await load.progress()
        await load.finish()
        load.report("one node of three killed, another stopped", handled)
        hung = [made.health().details["servers_hung"] for made in (first, second, sender)]
        print(f"servers left because they hung: {hung}")
        assert hung[2] >= 1


REPLICA = """
import asyncio, sys
from catga_core.interfaces import Inbound
from catga_core.messages.results import Success
from tests.nats.support import Add, Endpoint, Sum, transport

async def handle(message, context):
    await asyncio.sleep(0.05)
    return Success(Sum(message.left + message.right))

async def main():
    made = transport(sys.argv[1])
    await made.connect()
    await made.serve(Inbound("replica", [Endpoint(Add, handle)], [], 1000))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_replica_killed_while_it_handles(nats_server: NatsServer) -> None:
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(root)]).strip(":"),
    }
    replicas = [
        subprocess.Popen(
            [sys.executable, "-c", REPLICA, nats_server.url],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for replica in replicas:
            assert replica.stdout is not None
            assert (await asyncio.to_thread(replica.stdout.readline)).strip() == "ready"
        async with running(nats_server.url, **QUICK) as sender:
            load = Load(sender, workers=64)
            await load.progress()
            replicas[0].send_signal(signal.SIGKILL)
            await load.progress(1000)
            await load.finish()
            load.report("a replica killed while it handles", Counter(load.done))
            # What the dead one had taken timed out and was sent again; nothing else failed.
            assert set(load.outcomes) <= {"ok", "TIMEOUT/unknown"}
            assert 0 < load.outcomes["TIMEOUT/unknown"] <= 64
    finally:
        for replica in replicas:
            replica.kill()
            await asyncio.to_thread(replica.wait)
            if replica.stdout is not None:
                replica.stdout.close()


async def test_a_slow_handler_beside_a_fast_one_under_load(nats_server: NatsServer) -> None:
    handled: Counter[int] = Counter()

    async def slow(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        await asyncio.sleep(1.0)
        return Success(Sum(message.number))

    endpoints = (counting(handled), Endpoint(Slow, slow))
    async with (
        running(nats_server.url, *endpoints, limit=100, **QUICK),
        running(nats_server.url, **QUICK) as sender,
    ):
        start = time.monotonic()
        waiting = [asyncio.create_task(send(sender, Slow(number), timeout=5)) for number in range(150)]
        load = Load(sender)
        await load.progress(1000)
        fast = time.monotonic() - start
        await load.finish()
        codes = Counter("ok" if r.is_success else r.error.code for r in await asyncio.gather(*waiting))
        load.report(f"fast beside slow: 1000 fast in {fast:.2f} s, slow {dict(codes)}", handled)
        assert codes == {"ok": 100, "CONCURRENCY_LIMITED": 50}
        assert set(load.outcomes) == {"ok"}


class Deposit(Command[Deposited], frozen=True):
    number: int


class Look(Query[str], frozen=True):
    number: int


class UnitOfWork:
    """What a scope holds, and whether it was let go."""

    opened = 0
    closed = 0


async def unit_of_work() -> AsyncIterator[UnitOfWork]:
    UnitOfWork.opened += 1
    try:
        yield UnitOfWork()
    finally:
        UnitOfWork.closed += 1


class LookHandler(RequestHandler[Look, str]):
    async def handle(self, message: Look) -> str:
        await asyncio.sleep(0)
        return current_context().correlation_id


class DepositHandler(RequestHandler[Deposit, Deposited]):
    """Looks again, in another service, from within its scope."""

    def __init__(self, unit: UnitOfWork, mediator: CatgaMediator) -> None:
        self._mediator = mediator

    async def handle(self, message: Deposit) -> Deposited:
        context = current_context()
        asked = await self._mediator.send(Look(message.number))
        assert current_context() is context
        return Deposited(message.number, context.message_id, context.correlation_id, asked.unwrap())


def service(name: str, url: str, *handlers: type) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name, max_concurrent_requests=2000))
    query = "reconnect_wait=0.1&reconnect_jitter=0.05&connect_timeout=2&ping_interval=0.5"
    add_nats_catga(catga, f"{url}?{query}")
    catga.add_scoped(UnitOfWork, unit_of_work)
    catga.add_handlers(*handlers)
    return catga


async def test_containers_with_scoped_handlers_under_a_restart_of_the_server(nats_server: NatsServer) -> None:
    """Each request has its result or its error by its deadline, ids never cross, and every scope is closed."""
    UnitOfWork.opened = UnitOfWork.closed = 0
    longest = 0.0
    outcomes: Counter[str] = Counter()
    async with (
        service("deposits", nats_server.url, DepositHandler).running() as deposits,
        service("looks", nats_server.url, LookHandler).running(),
        service("clients", nats_server.url).running() as clients,
    ):
        mediator = clients.mediator

        async def deposit(number: int) -> None:
            nonlocal longest
            start = time.monotonic()
            result = await mediator.send(Deposit(number), message_id=f"id-{number}", timeout=PATIENCE)
            longest = max(longest, time.monotonic() - start)
            if result.is_success:
                identity = f"id-{number}"
                assert result.value == Deposited(number, identity, identity, identity)
                outcomes["ok"] += 1
            else:
                outcomes[result.error.code] += 1

        await asyncio.gather(*(deposit(number) for number in range(1000)))
        assert outcomes == {"ok": 1000}

        during = [asyncio.create_task(deposit(number)) for number in range(1000)]
        await eventually(lambda: UnitOfWork.opened > 1000)
        await nats_server.kill()
        during += [asyncio.create_task(deposit(number)) for number in range(1000, 1100)]
        await nats_server.restart()
        await asyncio.gather(*during)
        for app in (deposits, clients):
            await eventually(lambda: app.transport.health().status is HealthStatus.HEALTHY, within=10)  # noqa: B023
        before = outcomes["ok"]
        # The other service may still be on its way back.
        async with asyncio.timeout(10):
            while outcomes["ok"] == before:
                await deposit(5000)
        await asyncio.gather(*(deposit(number) for number in range(1000)))
    print(
        f"\ncontainers under a restart: {dict(outcomes)}, {UnitOfWork.opened} scopes, longest {longest:.2f} s"
    )
    assert set(outcomes) <= {"ok", "TIMEOUT", "TRANSPORT_FAILED", "HANDLER_NOT_FOUND"}
    assert outcomes["ok"] >= before + 1001
    assert longest < PATIENCE + TOLERANCE
    assert UnitOfWork.opened == UnitOfWork.closed > 2000
