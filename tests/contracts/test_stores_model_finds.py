"""The models and their machine find what may be wrong with a store: each of these mistakes is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from catga_core.interfaces import LeasedMessage, QueueLease
from catga_core.memory import MemoryEventLog, MemoryInboxStore, MemoryStorage
from catga_core.memory.engine import queues, table
from catga_core.memory.stores import event_log, idempotency, outbox, queue, sagas
from catga_core.memory.stores.sagas import MemorySagaStore
from catga_core.memory.unit_of_work import MemoryUnitOfWork
from catga_core.unit_of_work import joined_unit_of_work
from tests.contracts.stores_model.checkpoints import CheckpointsModel
from tests.contracts.stores_model.event_log import LogModel
from tests.contracts.stores_model.idempotency import IdempotencyModel
from tests.contracts.stores_model.inbox import InboxModel
from tests.contracts.stores_model.locks import LocksModel
from tests.contracts.stores_model.machine import run_against_model
from tests.contracts.stores_model.outbox import OutboxModel
from tests.contracts.stores_model.queue import QueueModel
from tests.contracts.stores_model.sagas import SagasModel
from tests.contracts.test_stores_model import new_memory


def sees_what_is_not_committed(self: Any) -> Mapping[Any, Any]:
    overlays: list[Mapping[Any, Any]] = self._overlays
    rows: Mapping[Any, Any] = self._rows
    return overlays[-1] if overlays else rows


async def waits_for_no_unit_of_work(self: MemoryStorage) -> MemoryUnitOfWork | None:
    unit: MemoryUnitOfWork | None = joined_unit_of_work(self)
    if unit is not None:
        await unit.begin()
    return unit


async def looks_and_then_writes(self: Any, message_id: str, handler: str, /) -> bool:
    rows = self._notes.write(await self._storage.write())
    if (message_id, handler) in rows:
        return False
    await asyncio.sleep(0)
    rows[message_id, handler] = self._clock.time(), ""
    return True


def leaves_the_streams(self: Any) -> None:
    del self.events[self.committed :]


def gives_whatever_the_key(
    pending: Mapping[int, Any], now: float, _far: float, limit: int
) -> Iterator[tuple[int, Any]]:
    yield from [each for each in pending.items() if each[1].due_at <= now][:limit]


def takes_any_leases_word(pending: Mapping[int, Any], leased: LeasedMessage) -> Any:
    return pending.get(leased.sequence)


def takes_any_leases_word_of_a_queue(kept: queues.Queue, leased: QueueLease, unit: Any) -> Any:
    return kept.rows.write(unit).get(leased.message.context.message_id)


MISTAKES: list[tuple[type[Any], Any, str, Callable[..., Any]]] = [
    (CheckpointsModel, table.Table, "read", sees_what_is_not_committed),
    (InboxModel, MemoryInboxStore, "record", looks_and_then_writes),
    (CheckpointsModel, table.Table, "roll_back", table.Table.commit),
    (LogModel, MemoryStorage, "write", waits_for_no_unit_of_work),
    (LogModel, MemoryEventLog, "_end", lambda self: len(self._log.events)),
    (LogModel, MemoryEventLog, "_repeated", lambda _self, _append: None),
    (LogModel, event_log._Log, "roll_back", leaves_the_streams),
    (LogModel, event_log, "same_record", lambda _stored, _given: True),
    (LocksModel, MemoryStorage, "next_fencing_token", lambda _self: 1),
    (IdempotencyModel, idempotency, "_require", lambda _claim, _entry: None),
    (OutboxModel, outbox, "_due", gives_whatever_the_key),
    (OutboxModel, outbox, "_owned", takes_any_leases_word),
    (OutboxModel, outbox, "_end_leases_behind", lambda _pending, _places: None),
    (QueueModel, queues.Queue, "head", lambda _self, _key: None),
    (QueueModel, queues.Queue, "offer_head", lambda _self, _key, _unit: None),
    (QueueModel, queue, "_owned", takes_any_leases_word_of_a_queue),
    (QueueModel, queue, "same_content", lambda _known, _given: True),
    (SagasModel, sagas, "_owns", lambda row, _claim: row.leased),
    (SagasModel, MemorySagaStore, "_later", lambda *_: False),
]


@pytest.mark.parametrize(
    ("model", "where", "name", "mistake"), MISTAKES, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_a_mistake_is_found(
    model: type[Any], where: Any, name: str, mistake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, mistake)

    with pytest.raises(AssertionError, match=model.__name__):
        run_against_model(model, new_memory, examples=300, steps=25, always_the_same=True)
