"""The fixtures that all parts of `TransportContract` share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from catga_core import MessageType, SystemClock, TransportCapabilities
from catga_testing.contracts.kept import Contract
from catga_testing.contracts.transports.peers import Peers, TransportFactory

GarbageSender = Callable[[MessageType, bytes], Awaitable[None]]
"""Puts bytes on the wire where messages of a type arrive."""

__all__ = ["GarbageSender", "TransportContractBase", "TransportFactory", "requires"]


def _overridable(function: Callable[..., Any]) -> Any:
    # A subclass may give the fixture by pytest.fixture or by pytest_asyncio.fixture, whose types differ.
    return pytest.fixture(function)


class TransportContractBase(Contract):
    """What a subclass gives, and what is made of it."""

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
        """Return what puts bytes on the wire; `None` skips the tests that need it."""
        return None

    @pytest.fixture
    def capabilities(self, make_transport: TransportFactory) -> TransportCapabilities:
        """Return what the transport says it can do."""
        return make_transport(SystemClock()).capabilities

    @pytest_asyncio.fixture(loop_scope="function")
    async def peers(self, make_transport: TransportFactory) -> AsyncIterator[Peers]:
        """Give the network of one test, and close what is left on it."""
        peers = Peers(make_transport)
        try:
            yield peers
        finally:
            await peers.close()


def requires(capabilities: TransportCapabilities, **wanted: bool) -> None:
    """Skip a test that is about a capability the transport has not (or has), naming the capability.

    Parameters:
        capabilities: of the transport.
        wanted: capabilities by name, each as the test needs it.
    """
    for name, value in wanted.items():
        if getattr(capabilities, name) is not value:
            pytest.skip(f"TransportCapabilities.{name} is {not value}")
