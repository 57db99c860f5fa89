"""Contract kits: what a plugin has to keep, as tests that its author subclasses."""

import pytest

# The kits' assertions tell what they saw, like those in a test module. It has to be said before they are imported.
pytest.register_assert_rewrite(
    "catga_testing.contracts.durable",
    "catga_testing.contracts.kept",
    "catga_testing.contracts.stores",
    "catga_testing.contracts.transports",
)

from catga_testing.contracts.durable.base import Compose  # noqa: E402
from catga_testing.contracts.durable.kit import DurableMessagingContract  # noqa: E402
from catga_testing.contracts.kept import Contract, needs  # noqa: E402
from catga_testing.contracts.stores.base import StoresContractBase  # noqa: E402
from catga_testing.contracts.stores.kits import (  # noqa: E402
    CheckpointContract,
    ConnectionContract,
    DeadLetterContract,
    EventLogContract,
    IdempotencyContract,
    InboxContract,
    LockContract,
    MembershipContract,
    NamedValueContract,
    OutboxContract,
    QueueContract,
    SagaContract,
    SnapshotContract,
    StorageContract,
    StoresContract,
    UnitOfWorkContract,
)
from catga_testing.contracts.stores.place import Connection, Place, StoresFactory  # noqa: E402
from catga_testing.contracts.stores.unit_of_work.writes import Prepare, Write  # noqa: E402
from catga_testing.contracts.transport import GarbageSender, TransportContract, TransportFactory  # noqa: E402
from catga_testing.contracts.transports.handlers import Gate, Inbox  # noqa: E402
from catga_testing.contracts.transports.peers import Peer, Peers  # noqa: E402

__all__ = [
    "CheckpointContract",
    "Compose",
    "Connection",
    "ConnectionContract",
    "Contract",
    "DeadLetterContract",
    "DurableMessagingContract",
    "EventLogContract",
    "GarbageSender",
    "Gate",
    "IdempotencyContract",
    "Inbox",
    "InboxContract",
    "LockContract",
    "MembershipContract",
    "NamedValueContract",
    "OutboxContract",
    "Peer",
    "Peers",
    "Place",
    "Prepare",
    "QueueContract",
    "SagaContract",
    "SnapshotContract",
    "StorageContract",
    "StoresContract",
    "StoresContractBase",
    "StoresFactory",
    "TransportContract",
    "TransportFactory",
    "UnitOfWorkContract",
    "Write",
    "needs",
]
