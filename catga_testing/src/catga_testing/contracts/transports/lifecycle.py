"""A transport's life: before, between and after."""

from __future__ import annotations

import asyncio

import pytest

from catga_core import CatgaError, ErrorCode, HealthStatus, Success, SystemClock, TransportCapabilities
from catga_testing.contracts.event_loops import in_another_loop
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase, TransportFactory
from catga_testing.contracts.transports.handlers import Gate, echo
from catga_testing.contracts.transports.messages import Echo, Happened
from catga_testing.contracts.transports.peers import Peer, Peers


async def _expect_unusable(peer: Peer) -> None:
    async with asyncio.timeout(SOON):
        result = await peer.ask(Echo("x"))
        with pytest.raises(CatgaError) as raised:
            await peer.tell(Happened(1))
    assert result.error.code == ErrorCode.TRANSPORT_FAILED
    assert result.error.message
    assert raised.value.code == ErrorCode.TRANSPORT_FAILED


class LifecycleContract(TransportContractBase):
    """It works from `connect` until `close`, fails fast outside, and says how it is."""

    async def test_capabilities_are_known_before_it_is_connected_and_do_not_change(
        self, make_transport: TransportFactory
    ) -> None:
        """They say what is tested, so they may not depend on the weather."""
        transport = make_transport(SystemClock())

        before = transport.capabilities

        assert isinstance(before, TransportCapabilities)
        assert transport.capabilities == before
        assert make_transport(SystemClock()).capabilities == before

    async def test_before_connect_everything_fails_at_once(self, peers: Peers) -> None:
        """With TRANSPORT_FAILED: a request by its result, an event by an exception."""
        await peers.add("echoes", requests={Echo: echo})

        await _expect_unusable(peers.unconnected())

    async def test_after_close_everything_fails_at_once(self, peers: Peers) -> None:
        """With TRANSPORT_FAILED: a request by its result, an event by an exception."""
        await peers.add("echoes", requests={Echo: echo})
        leaving = await peers.add()

        await leaving.close()

        await _expect_unusable(leaving)

    async def test_from_another_event_loop_everything_fails_at_once(self, peers: Peers) -> None:
        """With TRANSPORT_FAILED that is not retryable, and the transport's own event loop goes on."""
        await peers.add("echoes", requests={Echo: echo})
        asking = await peers.add()

        result = await in_another_loop(lambda: asking.ask(Echo("x")))
        raised = await in_another_loop(lambda: asking.tell(Happened(1)))

        for error in (result.error, raised):
            assert isinstance(error, CatgaError), error
            assert error.code == ErrorCode.TRANSPORT_FAILED
            assert not error.retryable
        assert await asking.ask(Echo("x")) == Success("x")

    async def test_closing_twice_is_harmless(self, peers: Peers) -> None:
        """The container closes what it has made, and the transport is among that."""
        leaving = await peers.add("echoes", requests={Echo: echo})
        await leaving.close()

        async with asyncio.timeout(SOON):
            await leaving.transport.close()

        assert leaving.transport.health().status is HealthStatus.UNHEALTHY

    async def test_closing_ends_what_still_waits(self, peers: Peers) -> None:
        """Whatever was sent between drain and close."""
        gate = Gate()
        await peers.add("slow", requests={Echo: gate})
        leaving = await peers.add()
        await leaving.drain(0.0)
        task = asyncio.create_task(leaving.ask(Echo("between")))
        await gate.until(entered=1)

        async with asyncio.timeout(SOON):
            await leaving.close()
            result = await task

        assert result.error.code == ErrorCode.TRANSPORT_FAILED
        gate.open()

    async def test_health_tells_each_state(self, peers: Peers) -> None:
        """Unhealthy before and after, healthy between, and always in words."""
        peer = peers.unconnected()

        seen = [peer.transport.health()]
        served = await peers.add("echoes", requests={Echo: echo})
        seen.append(served.transport.health())
        await served.ask(Echo("x"))
        seen.append(served.transport.health())
        await served.close()
        seen.append(served.transport.health())

        healthy, unhealthy = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY
        assert [each.status for each in seen] == [unhealthy, healthy, healthy, unhealthy]
        assert all(each.description for each in seen)

    async def test_a_transport_that_was_never_connected_can_be_closed(self, peers: Peers) -> None:
        """A start that fails half way stops what it has made."""
        peer = peers.unconnected()

        async with asyncio.timeout(SOON):
            await peer.close()

        assert peer.transport.health().status is HealthStatus.UNHEALTHY
