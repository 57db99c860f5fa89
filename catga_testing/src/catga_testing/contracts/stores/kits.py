"""The kits of the stores, each put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from catga_core import SystemClock
from catga_core.interfaces import (
    CheckpointStore,
    DeadLetterStore,
    EventLog,
    IdempotencyStore,
    InboxStore,
    LockProvider,
    OutboxStore,
    QueueStore,
    SagaStore,
    SnapshotStore,
)
from catga_core.interfaces.port import port_of
from catga_testing.contracts.stores.checkpoints import CheckpointsContract
from catga_testing.contracts.stores.dead_letters.finding import FindingContract
from catga_testing.contracts.stores.dead_letters.keeping import KeepingContract
from catga_testing.contracts.stores.event_log.appending import AppendingContract
from catga_testing.contracts.stores.event_log.bytes import BytesContract
from catga_testing.contracts.stores.event_log.concurrency import LogConcurrencyContract
from catga_testing.contracts.stores.event_log.consuming import ConsumingContract
from catga_testing.contracts.stores.event_log.lasting import LastingContract
from catga_testing.contracts.stores.event_log.reading import ReadingContract
from catga_testing.contracts.stores.event_log.repeating import RepeatingContract
from catga_testing.contracts.stores.event_loops import EventLoopsContract
from catga_testing.contracts.stores.idempotency.claiming import ClaimingContract
from catga_testing.contracts.stores.idempotency.completing import CompletingContract
from catga_testing.contracts.stores.idempotency.waiting import WaitingContract
from catga_testing.contracts.stores.inbox import NotesContract
from catga_testing.contracts.stores.locks import HoldingContract, LockWaitingContract
from catga_testing.contracts.stores.memberships import MembershipContract
from catga_testing.contracts.stores.named_values import NamedValueContract
from catga_testing.contracts.stores.outbox.adding import AddingContract
from catga_testing.contracts.stores.outbox.ending import EndingContract
from catga_testing.contracts.stores.outbox.leasing import LeasingContract
from catga_testing.contracts.stores.outbox.sharing import SharingContract
from catga_testing.contracts.stores.place import StoresFactory
from catga_testing.contracts.stores.queue.adding import QueueAddingContract
from catga_testing.contracts.stores.queue.ending import QueueEndingContract
from catga_testing.contracts.stores.queue.finding import QueueFindingContract
from catga_testing.contracts.stores.queue.keys import QueueKeysContract
from catga_testing.contracts.stores.queue.leasing import QueueLeasingContract
from catga_testing.contracts.stores.queue.scheduling import QueueSchedulingContract
from catga_testing.contracts.stores.queue.sharing import QueueSharingContract
from catga_testing.contracts.stores.queue.waiting import QueueWaitingContract
from catga_testing.contracts.stores.sagas.beginning import SagaBeginningContract
from catga_testing.contracts.stores.sagas.finding import SagaFindingContract, SagaPruningContract
from catga_testing.contracts.stores.sagas.joining import SagaJoiningContract
from catga_testing.contracts.stores.sagas.journals import SagaJournalContract
from catga_testing.contracts.stores.sagas.leasing import SagaLeasingContract
from catga_testing.contracts.stores.sagas.releasing import SagaReleasingContract
from catga_testing.contracts.stores.sagas.signalling import SagaCancelContract, SagaSignalContract
from catga_testing.contracts.stores.sagas.turns import SagaTurnsContract
from catga_testing.contracts.stores.sagas.waiting import SagaEndContract, SagaWaitingContract
from catga_testing.contracts.stores.sagas.writes import SAGA_WRITES
from catga_testing.contracts.stores.snapshots import SnapshotsContract
from catga_testing.contracts.stores.storage import ConnectionContract, StorageContract
from catga_testing.contracts.stores.unit_of_work import writes as joining
from catga_testing.contracts.stores.unit_of_work.actions import ActionsContract
from catga_testing.contracts.stores.unit_of_work.atomic import AtomicContract
from catga_testing.contracts.stores.unit_of_work.conflicts import ConflictsContract
from catga_testing.contracts.stores.unit_of_work.fencing import FencingContract
from catga_testing.contracts.stores.unit_of_work.joining import JoiningContract
from catga_testing.contracts.stores.unit_of_work.nesting import NestingContract
from catga_testing.contracts.stores.unit_of_work.within import WithinContract
from catga_testing.contracts.stores.unit_of_work.writes import Prepare

__all__ = [
    "CheckpointContract",
    "ConnectionContract",
    "DeadLetterContract",
    "EventLogContract",
    "IdempotencyContract",
    "InboxContract",
    "LockContract",
    "MembershipContract",
    "NamedValueContract",
    "OutboxContract",
    "QueueContract",
    "SagaContract",
    "SnapshotContract",
    "StorageContract",
    "StoresContract",
    "UnitOfWorkContract",
]


class EventLogContract(
    AppendingContract,
    RepeatingContract,
    ReadingContract,
    LogConcurrencyContract,
    ConsumingContract,
    BytesContract,
    LastingContract,
):
    """The tests an `EventLog` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (EventLog,)
    writes: ClassVar[Mapping[str, Prepare]] = {"event_log.append": joining.append}


class IdempotencyContract(ClaimingContract, CompletingContract, WaitingContract):
    """The tests an `IdempotencyStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (IdempotencyStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {"idempotency.complete": joining.complete_claim}


class LockContract(HoldingContract, LockWaitingContract):
    """The tests a `LockProvider` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (LockProvider,)


class OutboxContract(AddingContract, LeasingContract, SharingContract, EndingContract):
    """The tests an `OutboxStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (OutboxStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {
        "outbox.add": joining.add_to_outbox,
        "outbox.discard": joining.discard_from_outbox,
    }


class QueueContract(
    QueueAddingContract,
    QueueSchedulingContract,
    QueueLeasingContract,
    QueueEndingContract,
    QueueKeysContract,
    QueueFindingContract,
    QueueWaitingContract,
    QueueSharingContract,
):
    """The tests a `QueueStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (QueueStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {
        "queue.add": joining.add_to_queues,
        "queue.complete": joining.complete_in_queue,
        "queue.discard": joining.discard_from_queue,
        "queue.release_key": joining.release_key_of_queue,
        "queue.cancel": joining.cancel_in_queue,
    }


class SagaContract(
    SagaBeginningContract,
    SagaJournalContract,
    SagaReleasingContract,
    SagaLeasingContract,
    SagaTurnsContract,
    SagaSignalContract,
    SagaCancelContract,
    SagaFindingContract,
    SagaPruningContract,
    SagaWaitingContract,
    SagaEndContract,
    SagaJoiningContract,
):
    """The tests a `SagaStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (SagaStore,)
    writes: ClassVar[Mapping[str, Prepare]] = SAGA_WRITES


class DeadLetterContract(KeepingContract, FindingContract):
    """The tests a `DeadLetterStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (DeadLetterStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {
        "dead_letters.add": joining.add_dead_letter,
        "dead_letters.remove": joining.remove_dead_letter,
    }


class InboxContract(NotesContract):
    """The tests an `InboxStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (InboxStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {"inbox.record": joining.record_in_inbox}


class SnapshotContract(SnapshotsContract):
    """The tests a `SnapshotStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (SnapshotStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {"snapshots.save": joining.save_snapshot}


class CheckpointContract(CheckpointsContract):
    """The tests a `CheckpointStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (CheckpointStore,)
    writes: ClassVar[Mapping[str, Prepare]] = {
        "checkpoints.save": joining.save_checkpoint,
        "checkpoints.delete": joining.delete_checkpoint,
    }


class UnitOfWorkContract(
    AtomicContract,
    JoiningContract,
    NestingContract,
    WithinContract,
    ActionsContract,
    ConflictsContract,
    FencingContract,
):
    """The tests that a storage's units of work have to pass, with whatever stores there are."""


class KitsOfPorts(type):
    """Adds the contract kits of the ports that a test class claims to its bases."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> KitsOfPorts:
        """Make the class."""
        inherited = (getattr(base, "ports", ()) for base in bases)
        for claimed in namespace.get("ports") or next(filter(None, inherited), ()):
            declared = port_of(claimed)
            kit = None if declared is None else declared.load_kit()
            if kit is not None and not any(issubclass(base, kit) for base in bases):
                bases = (*bases, kit)
        return super().__new__(cls, name, bases, namespace, **options)


class StoresContract(UnitOfWorkContract, StorageContract, EventLoopsContract, metaclass=KitsOfPorts):
    """The tests of all stores of one storage: derive from it, state what the stores claim and give `make_stores`.

    ```python
    class TestMyStores(StoresContract):
        ports = (EventLog, OutboxStore, InboxStore)
        capabilities = StorageCapabilities(durable=True, shared=True, immediate=True, connection=False)

        @pytest.fixture
        def make_stores(self, tmp_path: Path) -> StoresFactory:
            return lambda clock: my_stores(tmp_path / "app.db", clock)
    ```

    The class gets the contract kit of each of its `ports`, as the port declares it, and the tests about its `capabilities`. A test
    about anything else is not collected. Claiming more or less than the stores really have fails a test of its own.

    `make_stores` returns a function that makes one more set of stores, not yet started, over the place of this one
    test, as one more process would; its parameter is the clock that leases and expiry follow. A test makes up to three
    of them, starts and stops each once, and each test has its own place.

    A storage that has one store may derive from that store's kit instead. Stores of a server derive a second class from
    `ConnectionContract`. The tests need pytest-asyncio, in any mode.
    """

    async def test_every_store_is_claimed(self, make_stores: StoresFactory) -> None:
        """An unclaimed store would be tested by nothing."""
        stores = make_stores(SystemClock())

        unclaimed = [port.__name__ for port in stores.ports if port not in self.ports]
        assert not unclaimed, (
            f"{type(self).__name__} does not claim {', '.join(unclaimed)}. Add them to its ports = (...)"
        )
