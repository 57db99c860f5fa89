"""What the contract cannot know of: a hub, or a process behind it, that goes away."""

from __future__ import annotations

import asyncio

import pytest
from catga_transport_loopback import Hub, LoopbackTransport
from catga_transport_loopback.frames import MAX_BODY

from catga_core import CatgaError, ConfigurationError, ErrorCode, Event, HealthStatus, Query, SystemClock
from catga_core.messages.serialization import msgpack_serializer
from catga_testing.contracts import Gate, Inbox, Peers


class Echo(Query[str]):
    text: str


class Happened(Event):
    number: int


def peers_of(hub: Hub) -> Peers:
    return Peers(lambda clock: LoopbackTransport(hub.url, msgpack_serializer(), clock))


async def test_a_lost_hub_fails_what_waits_and_what_comes_after() -> None:
    gate = Gate()
    async with Hub() as hub:
        peers = peers_of(hub)
        await peers.add("slow", requests={Echo: gate})
        asking = await peers.add()
        waiting = asyncio.create_task(asking.ask(Echo("x")))
        await gate.until(entered=1)

    async with asyncio.timeout(2):
        lost = await waiting
        afterwards = await asking.ask(Echo("y"))
        with pytest.raises(CatgaError, match="is lost"):
            await asking.tell(Happened(1))

    assert lost.error.code == afterwards.error.code == ErrorCode.TRANSPORT_FAILED
    assert asking.transport.health().status is HealthStatus.UNHEALTHY
    gate.open()
    await peers.close()


async def test_a_process_that_dies_fails_the_requests_it_had() -> None:
    async with Hub() as hub:
        peers = peers_of(hub)
        gate = Gate()
        dying = await peers.add("slow", requests={Echo: gate})
        asking = await peers.add()
        waiting = asyncio.create_task(asking.ask(Echo("x")))
        await gate.until(entered=1)

        async with asyncio.timeout(2):
            await dying.transport.close()
            result = await waiting

        assert result.error.code == ErrorCode.TRANSPORT_FAILED
        gate.open()
        await peers.close()


async def test_a_message_that_is_too_large_fails_with_its_sender() -> None:
    async with Hub() as hub:
        peers = peers_of(hub)
        await peers.add("echoes", requests={Echo: Inbox()})
        asking = await peers.add()

        result = await asking.ask(Echo("x" * MAX_BODY))

        assert result.error.code == ErrorCode.SERIALIZATION_FAILED
        assert (await asking.ask(Echo("small"))).is_success
        await peers.close()


async def test_a_start_without_a_hub_fails_with_what_to_do() -> None:
    async with Hub() as hub:
        url = hub.url

    with pytest.raises(CatgaError, match="python -m catga_transport_loopback"):
        await LoopbackTransport(url, msgpack_serializer(), SystemClock()).connect()


@pytest.mark.parametrize("url", ["loopback://", "loopback://here", "loopback://:7000"])
def test_a_url_without_host_and_port_is_a_wrong_composition(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write loopback://"):
        LoopbackTransport(url, msgpack_serializer(), SystemClock())
