"""The kits of the stores, each put together from its parts."""

from __future__ import annotations

from catga_testing.contracts.stores.checkpoints import CheckpointsContract
from catga_testing.contracts.stores.dead_letters.finding import FindingContract
from catga_testing.contracts.stores.dead_letters.keeping import KeepingContract
from catga_testing.contracts.stores.event_log.appending import AppendingContract
from catga_testing.contracts.stores.event_log.bytes import BytesContract
from catga_testing.contracts.stores.event_log.concurrency import LogConcurrencyContract
from catga_testing.contracts.stores.event_log.following import FollowingContract
from catga_testing.contracts.stores.event_log.lasting import LastingContract
from catga_testing.contracts.stores.event_log.reading import ReadingContract
from catga_testing.contracts.stores.event_log.repeating import RepeatingContract
from catga_testing.contracts.stores.idempotency.claiming import ClaimingContract
from catga_testing.contracts.stores.idempotency.completing import CompletingContract
from catga_testing.contracts.stores.idempotency.waiting import WaitingContract
from catga_testing.contracts.stores.inbox import NotesContract
from catga_testing.contracts.stores.locks import HoldingContract, LockWaitingContract
from catga_testing.contracts.stores.outbox.adding import AddingContract
from catga_testing.contracts.stores.outbox.ending import EndingContract
from catga_testing.contracts.stores.outbox.leasing import LeasingContract
from catga_testing.contracts.stores.outbox.sharing import SharingContract
from catga_testing.contracts.stores.snapshots import SnapshotsContract
from catga_testing.contracts.stores.storage import ConnectionContract, StorageContract
from catga_testing.contracts.stores.unit_of_work.actions import ActionsContract
from catga_testing.contracts.stores.unit_of_work.atomic import AtomicContract
from catga_testing.contracts.stores.unit_of_work.conflicts import ConflictsContract
from catga_testing.contracts.stores.unit_of_work.fencing import FencingContract
from catga_testing.contracts.stores.unit_of_work.joining import JoiningContract
from catga_testing.contracts.stores.unit_of_work.within import WithinContract

__all__ = [
    "CheckpointContract",
    "ConnectionContract",
    "DeadLetterContract",
    "EventLogContract",
    "IdempotencyContract",
    "InboxContract",
    "LockContract",
    "OutboxContract",
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
    FollowingContract,
    BytesContract,
    LastingContract,
):
    """The tests an `EventLog` has to pass."""


class IdempotencyContract(ClaimingContract, CompletingContract, WaitingContract):
    """The tests an `IdempotencyStore` has to pass."""


class LockContract(HoldingContract, LockWaitingContract):
    """The tests a `LockProvider` has to pass."""


class OutboxContract(AddingContract, LeasingContract, SharingContract, EndingContract):
    """The tests an `OutboxStore` has to pass."""


class DeadLetterContract(KeepingContract, FindingContract):
    """The tests a `DeadLetterStore` has to pass."""


class InboxContract(NotesContract):
    """The tests an `InboxStore` has to pass."""


class SnapshotContract(SnapshotsContract):
    """The tests a `SnapshotStore` has to pass."""


class CheckpointContract(CheckpointsContract):
    """The tests a `CheckpointStore` has to pass."""


class UnitOfWorkContract(
    AtomicContract, JoiningContract, WithinContract, ActionsContract, ConflictsContract, FencingContract
):
    """The tests that a storage's units of work have to pass, with whatever stores there are."""


class StoresContract(
    EventLogContract,
    SnapshotContract,
    CheckpointContract,
    IdempotencyContract,
    InboxContract,
    OutboxContract,
    DeadLetterContract,
    LockContract,
    UnitOfWorkContract,
    StorageContract,
    ConnectionContract,
):
    """The tests of all stores of one storage: derive from it and give the fixture `make_stores`.

    ```python
    class TestMyStores(StoresContract):
        @pytest.fixture
        def make_stores(self, tmp_path: Path) -> StoresFactory:
            return lambda clock: my_stores(tmp_path / "app.db", clock)
    ```

    `make_stores` returns a function that makes one more set of stores, not yet started, over the place of this one
    test, as one more process would; its parameter is the clock that leases and expiry follow. A test makes up to three
    of them, starts and stops each once, and each test has a place of its own.

    `connection` is a second fixture, for stores of a server that want to be tested without it: it returns a
    `Connection`, by which the kit cuts the way to the server and mends it.

    What is tested depends on the storage's own `capabilities`, and on what is not `None` in `Stores`; a test that does
    not apply is skipped with the name of the capability or of the store. A storage that has one store only may derive
    from that store's kit instead. The tests need pytest-asyncio, in any mode.
    """
