"""The contract kit as the author of a plugin runs it: against installed wheels, far from this repository.

`nox -s packaging` copies this file, as a test module, to an empty folder outside the tree. It may import
only what the wheels bring. Its name keeps it out of the usual run, where tests/contracts covers the same.
"""

from __future__ import annotations

import uuid
from importlib.metadata import entry_points

import pytest

from catga_core.local import LocalBus, LocalTransport
from catga_core.serialization import msgpack_serializer
from catga_nats import NatsOptions, NatsTransport
from catga_testing import TransportContract
from catga_testing.contracts import TransportFactory
from catga_testing.servers import NatsServer


class TestLocal(TransportContract):
    @pytest.fixture
    def make_transport(self) -> TransportFactory:
        bus = LocalBus()
        return lambda clock: LocalTransport(bus, clock)


class TestNats(TransportContract):
    @pytest.fixture
    def make_transport(self, nats_server_shared: NatsServer) -> TransportFactory:
        options = NatsOptions(nats_server_shared.url, subject_prefix=f"outside-{uuid.uuid4().hex}")
        return lambda clock: NatsTransport(options, msgpack_serializer(), clock)


@pytest.mark.parametrize("name", ["memory", "nats", "tls"])
def test_the_transports_are_found_by_their_entry_points(name: str) -> None:
    (found,) = entry_points(group="catga.transports", name=name)
    assert callable(found.load())
