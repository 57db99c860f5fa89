"""The fixtures that all parts of `TransportContract` share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from catga_core import Clock, MessageType, SystemClock, Transport, TransportCapabilities
from catga_core.messages.registry import MessageRegistry
from catga_testing.contracts.kept import Contract
from catga_testing.contracts.transports.peers import Peers, TransportFactory

GarbageSender = Callable[[MessageType, bytes], Awaitable[None]]
"""Puts bytes on the wire where messages of a type arrive."""

UpcastingFactory = Callable[[Clock, MessageRegistry], Transport]
"""Makes a transport with the upcasters of its container."""

__all__ = ["GarbageSender", "TransportContractBase", "TransportFactory", "UpcastingFactory"]


def _overridable(function: Callable[..., Any]) -> Any:
    # A subclass may give the fixture by pytest.fixture or by pytest_asyncio.fixture, whose types differ.
    return pytest.fixture(function)


class TransportContractBase(Contract):
    """What a subclass states and gives, and what is made of it."""

    capabilities: ClassVar[TransportCapabilities] = TransportCapabilities(remote=False)
    """The capabilities the class claims; a test about another capability is not collected."""

    @_overridable
    def make_transport(self) -> TransportFactory:
        """Return what makes one more transport on this test's network: the fixture every subclass gives."""
        msg = (
            f"{type(self).__name__} gives no transport: write @pytest.fixture def make_transport(self), returning a "
            "function that takes a clock and makes a transport on the network of this test"
        )
        raise NotImplementedError(msg)

    @_overridable
    def send_garbage(self) -> GarbageSender | None:
        """Return what puts bytes on the wire; `None` skips the test that needs it."""
        return None

    @_overridable
    def make_upcasting_transport(self) -> UpcastingFactory | None:
        """Return what makes a transport that knows upcasters, on this test's network; `None` skips the tests that need it."""
        return None

    @pytest_asyncio.fixture(loop_scope="function")
    async def peers(self, make_transport: TransportFactory) -> AsyncIterator[Peers]:
        """Give the network of one test, and close what is left on it."""
        peers = Peers(make_transport)
        try:
            yield peers
        finally:
            await peers.close()

    async def test_claimed_capabilities_are_those_of_the_transport(
        self, make_transport: TransportFactory
    ) -> None:
        """Claiming less would leave tests out, claiming more would fail for another reason than the real one."""
        actual = make_transport(SystemClock()).capabilities

        assert self.capabilities == actual, (
            f"{type(self).__name__} claims {self.capabilities}. Write: capabilities = {actual}"
        )
