"""Where the state of a run is kept, and what can go wrong there; each process has its own way to it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec

from catga_testing.servers import Link, ValkeyServer

Fault: TypeAlias = Callable[[random.Random], Awaitable[None]]
"""Breaks something for a moment, and mends it."""

_LONGEST = 0.7  # seconds that a fault lasts at most
_SLOWEST = 0.08  # seconds that a slow link takes at most, one way
_TIMEOUTS = "command_timeout=1&connect_timeout=1&recover_timeout=2"


class Place(msgspec.Struct, frozen=True):
    """One place.

    Args:
        ways: The URL of each process.
        faults: What can go wrong, by name.
        settle: Ends every fault; returns the URL to look at what is left.
    """

    ways: list[str]
    faults: Mapping[str, Fault]
    settle: Callable[[], Awaitable[str]]


@asynccontextmanager
async def _sqlite(processes: int) -> AsyncGenerator[Place]:
    with tempfile.TemporaryDirectory(prefix="catga-histories-") as folder:
        url = f"sqlite:///{Path(folder) / 'app.db'}"

        async def settle() -> str:
            return url

        yield Place([url] * processes, {}, settle)


@asynccontextmanager
async def _redis(processes: int) -> AsyncGenerator[Place]:
    async with ValkeyServer(appendfsync="always") as server, _links(server, processes) as links:
        lock = asyncio.Lock()

        async def restart_server(_chance: random.Random) -> None:
            async with lock:
                await server.kill()
                await server.restart()

        async def settle() -> str:
            await _restored(links)
            return server.url

        faults = {
            **_faults_of(links),
            "server hangs": _hanging(server, lock),
            "server is killed": restart_server,
        }
        yield Place([f"{each.url}/0?{_TIMEOUTS}" for each in links], faults, settle)


@asynccontextmanager
async def _replicas(processes: int) -> AsyncGenerator[Place]:
    """A primary whose replica has to have what is acknowledged; at the end the replica is all there is."""
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(ValkeyServer(appendfsync="always"))
        replica = await stack.enter_async_context(ValkeyServer(appendfsync="always", replica_of=primary))
        links = await stack.enter_async_context(_links(primary, processes))

        async def settle() -> str:
            from redis.asyncio import Redis

            await _restored(links)
            await primary.kill()
            async with Redis.from_url(replica.url) as client:
                await client.replicaof("NO", "ONE")
            return replica.url

        faults = {**_faults_of(links), "replica hangs": _hanging(replica, asyncio.Lock())}
        options = f"{_TIMEOUTS}&wait_replicas=1&wait_timeout=0.5"
        yield Place([f"{each.url}/0?{options}" for each in links], faults, settle)


PLACES: dict[str, Callable[[int], AbstractAsyncContextManager[Place]]] = {
    "sqlite": _sqlite,
    "redis": _redis,
    "replicas": _replicas,
}


@asynccontextmanager
async def _links(server: ValkeyServer, processes: int) -> AsyncGenerator[list[Link]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Link(server.url)) for _ in range(processes)]


async def _restored(links: list[Link]) -> None:
    for each in links:
        await each.restore()


def _hanging(server: ValkeyServer, lock: asyncio.Lock) -> Fault:
    async def hang(chance: random.Random) -> None:
        seconds = chance.uniform(0.1, _LONGEST)
        async with lock:
            await server.stop()
            await asyncio.sleep(seconds)
            await server.resume()

    return hang


def _faults_of(links: list[Link]) -> dict[str, Fault]:
    # One fault of a link at a time: each ends with a link that works.
    busy = [asyncio.Lock() for _ in links]

    async def lose_answers(link: Link, chance: random.Random) -> None:
        await link.stall("to_client")
        await asyncio.sleep(chance.uniform(0.02, _LONGEST))
        await link.cut()

    async def cut(link: Link, chance: random.Random) -> None:
        await link.cut()
        await asyncio.sleep(chance.uniform(0, _LONGEST))

    async def slow_down(link: Link, chance: random.Random) -> None:
        await link.slow_down(chance.uniform(0.005, _SLOWEST))
        await asyncio.sleep(chance.uniform(0.1, _LONGEST))

    def of_one(act: Callable[[Link, random.Random], Awaitable[None]]) -> Fault:
        async def fault(chance: random.Random) -> None:
            number = chance.randrange(len(links))
            async with busy[number]:
                await act(links[number], chance)
                await links[number].restore()

        return fault

    return {
        "answers are lost": of_one(lose_answers),
        "link is cut": of_one(cut),
        "link is slow": of_one(slow_down),
    }
