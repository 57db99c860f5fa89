"""The in-process transport keeps the contract of every transport."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import ErrorCode, Event, MessageContext, Query, TransportCapabilities
from catga_core.memory import LocalBus, LocalTransport, local_bus
from catga_testing.contracts import Peers, TransportContract, TransportFactory
from catga_testing.contracts.transport import UpcastingFactory


class TestLocalTransport(TransportContract):
    capabilities = TransportCapabilities(remote=False, zero_copy=True, streams=True)

    @pytest.fixture
    def make_transport(self) -> TransportFactory:
        bus = LocalBus()
        return lambda clock: LocalTransport(bus, clock)

    @pytest.fixture
    def make_upcasting_transport(self) -> UpcastingFactory:
        bus = LocalBus()
        return lambda clock, registry: LocalTransport(bus, clock, registry=registry)


async def test_an_endpoint_that_raises_against_its_word_is_answered_all_the_same() -> None:
    async def broken(_message: Ask, _context: MessageContext) -> str:
        raise ZeroDivisionError

    peers = peers_on(LocalBus())
    await peers.add("broken", requests={Ask: broken}, events={Told: broken})
    asking = await peers.add("asking")

    async with asyncio.timeout(2):
        result = await asking.ask(Ask())
    await asking.tell(Told())

    assert result.error.code == ErrorCode.INTERNAL_ERROR
    await peers.close()


async def test_buses_of_one_name_are_one_as_long_as_somebody_holds_it() -> None:
    held = local_bus("held")

    assert local_bus("held") is held
    assert local_bus("another") is not held


class Ask(Query[str]):
    pass


class Told(Event):
    pass


def peers_on(bus: LocalBus) -> Peers:
    return Peers(lambda clock: LocalTransport(bus, clock))
