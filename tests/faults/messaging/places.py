"""Where the messages of a run are kept, and what can go wrong there; each process has its own way to it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from catga_nats.jetstream.options import Schedules
from catga_testing.servers import Direction, Link, NatsCluster, NatsServer
from tests.faults.kills.places import PLACES as STORES
from tests.faults.kills.places import Place as Store
from tests.faults.messaging.ways import Way

Fault: TypeAlias = Callable[[random.Random], Awaitable[None]]
"""Breaks something for a moment, and mends it."""

REDIS_IS_KILLED = "Redis server is killed"
"""The fault of a place over JetStream that meets its storages alone."""

_ALWAYS = "always"
_LONGEST_CUT = 0.5  # seconds
_LONGEST_OUTAGE = 2.5  # seconds that a node of a cluster is away
_READY_WITHIN = 60.0


class Place(msgspec.Struct, frozen=True):
    """One place.

    Args:
        ways: How each process reaches it.
        look: How the run itself reaches it, past what breaks connections.
        faults: What goes wrong at random, by name.
        turns: What goes wrong in turn, evenly over the run, by name.
        synced: Whether a NATS server flushes its files before each acknowledgement.
    """

    ways: Sequence[Way]
    look: Way
    faults: Mapping[str, Fault]
    turns: Mapping[str, Fault]
    synced: bool = False


def way_of(store: Store) -> str:
    """Return the URL of a store, with short timeouts where it is a server that is killed.

    Args:
        store: The store.
    """
    if not store.can_break:
        return store.url
    return f"{store.url}/0?command_timeout=1&connect_timeout=1&recover_timeout=2"


def _stored(name: str) -> Callable[[int], AbstractAsyncContextManager[Place]]:
    @asynccontextmanager
    async def place(processes: int) -> AsyncGenerator[Place]:
        async with STORES[name]() as store:
            way = Way(way_of(store))
            faults = {"server is killed": _killed(store)} if store.can_break else {}
            yield Place([way] * processes, way, faults, {})

    return place


def _jetstream(
    *, sync_interval: str | None = None, schedules: Schedules | None = None
) -> Callable[[int], AbstractAsyncContextManager[Place]]:
    @asynccontextmanager
    async def place(processes: int) -> AsyncGenerator[Place]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(NatsServer(jetstream=True, sync_interval=sync_interval))

            async def kill(_chance: random.Random) -> None:
                await server.kill()
                await server.restart()

            turns: dict[str, Fault] = {"NATS server is killed": kill}
            place = await _over_nats(stack, processes, [server.url], 1, turns, schedules)
            yield msgspec.structs.replace(place, synced=sync_interval == _ALWAYS)

    return place


@asynccontextmanager
async def _jetstream_cluster(processes: int) -> AsyncGenerator[Place]:
    async with AsyncExitStack() as stack:
        made = NatsCluster(sync_interval=_ALWAYS, advertise=False, ready_within=_READY_WITHIN)
        cluster = await stack.enter_async_context(made)
        numbers = {"kill": 0, "stop": 0}

        def next_node(action: str) -> NatsServer:
            numbers[action] += 1
            return cluster.nodes[numbers[action] % len(cluster.nodes)]

        async def kill(chance: random.Random) -> None:
            node = next_node("kill")
            await node.kill()
            await asyncio.sleep(chance.uniform(0, _LONGEST_OUTAGE))
            await node.restart()
            await cluster.ready()

        async def stop(chance: random.Random) -> None:
            node = next_node("stop")
            await node.stop()
            await asyncio.sleep(chance.uniform(0.1, _LONGEST_OUTAGE))
            await node.resume()
            await cluster.ready()

        turns: dict[str, Fault] = {"NATS node is killed": kill, "NATS node stands still": stop}
        place = await _over_nats(stack, processes, cluster.urls, len(cluster.nodes), turns)
        yield msgspec.structs.replace(place, synced=True)


async def _over_nats(
    stack: AsyncExitStack,
    processes: int,
    servers: Sequence[str],
    replicas: int,
    turns: Mapping[str, Fault],
    schedules: Schedules | None = None,
) -> Place:
    """Put a place together whose messages are in JetStream: with inboxes over SQLite and over Redis, and links to cut."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="catga-jetstream-")))
    redis = await stack.enter_async_context(STORES["redis"]())
    letters = f"sqlite:///{folder / 'letters.db'}"
    # A process may stand still in the middle of a transaction, with several slow ones waiting behind it.
    inboxes = (f"sqlite:///{folder / 'inbox.db'}?busy_timeout=30", way_of(redis))
    links = [[await stack.enter_async_context(Link(each)) for each in servers] for _ in range(processes)]
    look = Way(letters, tuple(servers), replicas, inboxes, schedules)
    ways = [msgspec.structs.replace(look, servers=tuple(each.url for each in some)) for some in links]
    faults = {REDIS_IS_KILLED: _killed(redis), **_faults_of(links)}
    return Place(ways, look, faults, turns)


def _faults_of(links: Sequence[Sequence[Link]]) -> dict[str, Fault]:
    """Return what can go wrong with the connections of one process."""

    async def restored(some: Sequence[Link], chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0, _LONGEST_CUT))
        for each in some:
            await each.restore()

    async def cut(chance: random.Random) -> None:
        some = chance.choice(links)
        for each in some:
            await each.cut()
        await restored(some, chance)

    async def lose(direction: Direction, chance: random.Random) -> None:
        some = chance.choice(links)
        for each in some:
            await each.stall(direction)
        await asyncio.sleep(chance.uniform(0.02, _LONGEST_CUT))
        for each in some:
            await each.cut()
        await restored(some, chance)

    return {
        "connection is cut": cut,
        # The server keeps what it is sent, and its acknowledgements are lost.
        "acknowledgements are lost": partial(lose, "to_client"),
        # Publishes and the client's acknowledgements are lost.
        "requests are lost": partial(lose, "to_server"),
    }


def _killed(store: Store) -> Fault:
    async def kill(_chance: random.Random) -> None:
        await store.break_and_mend()

    return kill


PLACES: dict[str, Callable[[int], AbstractAsyncContextManager[Place]]] = {
    **{name: _stored(name) for name in STORES},
    "jetstream": _jetstream(sync_interval=_ALWAYS),
    "jetstream-cluster": _jetstream_cluster,
    # The server flushes its files every two minutes, as it does by default.
    "jetstream-unsynced": _jetstream(),
    # So it does here, and processes publish the commands whose time has come.
    "jetstream-framework": _jetstream(schedules="framework"),
}
"""Opens a place for a number of processes, by its name."""
