"""The in-process transport keeps the contract of every transport."""

from __future__ import annotations

import pytest

from catga_core.local import LocalBus, LocalTransport
from catga_testing.contracts import TransportContract, TransportFactory


class TestLocalTransport(TransportContract):
    @pytest.fixture
    def make_transport(self) -> TransportFactory:
        bus = LocalBus()
        return lambda clock: LocalTransport(bus, clock)
