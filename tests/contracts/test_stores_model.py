"""Whatever several clients do to a store at the same time, what they see is explained by a model and some order."""

from __future__ import annotations

from typing import Any

import pytest

from catga_core.local import MemoryStorage, memory_stores
from catga_testing.contracts import StoresFactory
from tests.contracts.stores_model.checkpoints import CheckpointsModel
from tests.contracts.stores_model.dead_letters import DeadLettersModel
from tests.contracts.stores_model.event_log import LogModel
from tests.contracts.stores_model.idempotency import IdempotencyModel
from tests.contracts.stores_model.inbox import InboxModel
from tests.contracts.stores_model.locks import LocksModel
from tests.contracts.stores_model.machine import run_against_model
from tests.contracts.stores_model.outbox import OutboxModel
from tests.contracts.stores_model.snapshots import SnapshotsModel

MODELS: list[type[Any]] = [
    LogModel,
    SnapshotsModel,
    CheckpointsModel,
    IdempotencyModel,
    InboxModel,
    OutboxModel,
    DeadLettersModel,
    LocksModel,
]


@pytest.mark.parametrize("model", MODELS)
def test_memory(model: type[Any]) -> None:
    run_against_model(model, new_memory, examples=40, steps=25)


def new_memory() -> StoresFactory:
    storage = MemoryStorage()
    return lambda clock: memory_stores(clock, storage)
