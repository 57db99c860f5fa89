"""JetStream keeps the contract of durable messaging."""

from __future__ import annotations

import uuid

import pytest

from catga_core import CatgaContainer, CatgaOptions, add_catga
from catga_core.clock import Clock
from catga_core.container import add_stores
from catga_core.interfaces import Stores
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_core.reliability import QueueOptions, add_queues
from catga_nats import NatsOptions, add_nats_catga
from catga_nats.jetstream import JetStreamOptions
from catga_testing.contracts import Compose, DurableMessagingContract
from catga_testing.contracts.durable.enqueueing import EnqueueingContract
from catga_testing.servers import NatsServer


def composed_over(server: NatsServer, options: JetStreamOptions) -> Compose:
    storage, prefix = MemoryStorage(), f"k{uuid.uuid4().hex[:12]}"

    def stores(clock: Clock) -> Stores:
        return memory_stores(clock, storage)

    def composed(catga_options: CatgaOptions, queues: QueueOptions) -> CatgaContainer:
        catga = add_catga(catga_options)
        add_stores(catga, stores, MEMORY_PORTS, name="memory")
        add_queues(catga, queues)
        nats = NatsOptions(server.url, subject_prefix=prefix, enable_jetstream=True, jetstream=options)
        add_nats_catga(catga, nats)
        return catga

    return composed


@pytest.mark.nats
class TestDurableMessagingOverJetStream(DurableMessagingContract):
    remote, transactional = True, False
    # Each priority has a consumer of its own, and one that waits gets its message at once.
    strict_priority = False

    @pytest.fixture
    def compose(self, jetstream_shared: NatsServer) -> Compose:
        return composed_over(jetstream_shared, JetStreamOptions(membership_seconds=2.0))


@pytest.mark.nats
class TestEnqueueingWithTheFrameworksSchedules(EnqueueingContract):
    remote, transactional = True, False
    strict_priority = False

    @pytest.fixture
    def compose(self, jetstream_shared: NatsServer) -> Compose:
        return composed_over(
            jetstream_shared, JetStreamOptions(membership_seconds=2.0, schedules="framework")
        )
