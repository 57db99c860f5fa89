"""Whatever several clients do to a store at the same time, what they see is explained by a model and some order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catga_core import Clock
from catga_core.identifiers import new_id
from catga_core.interfaces import Stores
from catga_core.memory import MemoryStorage, memory_stores
from catga_redis import RedisOptions, redis_stores
from catga_sqlite import SqliteOptions, sqlite_stores
from catga_testing.contracts import StoresFactory
from catga_testing.servers import ValkeyServer
from tests.contracts.stores_model.checkpoints import CheckpointsModel
from tests.contracts.stores_model.dead_letters import DeadLettersModel
from tests.contracts.stores_model.event_log import LogModel
from tests.contracts.stores_model.idempotency import IdempotencyModel
from tests.contracts.stores_model.inbox import InboxModel
from tests.contracts.stores_model.locks import LocksModel
from tests.contracts.stores_model.machine import run_against_model
from tests.contracts.stores_model.outbox import OutboxModel
from tests.contracts.stores_model.queue import QueueModel
from tests.contracts.stores_model.sagas import SagasModel
from tests.contracts.stores_model.snapshots import SnapshotsModel

# What is found takes long to be made small: it is to be shown, and not cut off.
pytestmark = pytest.mark.timeout(240)

MODELS: list[type[Any]] = [
    LogModel,
    SnapshotsModel,
    CheckpointsModel,
    IdempotencyModel,
    InboxModel,
    OutboxModel,
    QueueModel,
    SagasModel,
    DeadLettersModel,
    LocksModel,
]


@pytest.mark.parametrize("model", MODELS)
def test_memory(model: type[Any]) -> None:
    run_against_model(model, new_memory, examples=20, steps=25)


@pytest.mark.parametrize("model", MODELS)
def test_sqlite_in_three_processes(model: type[Any], tmp_path: Path) -> None:
    run_against_model(model, lambda: in_file(new_file(tmp_path)), examples=12, steps=25)


@pytest.mark.parametrize("model", MODELS)
def test_sqlite_in_one_process(model: type[Any], tmp_path: Path) -> None:
    run_against_model(model, lambda: shared(in_file(new_file(tmp_path))), examples=12, steps=25)


@pytest.mark.redis
@pytest.mark.parametrize("model", MODELS)
def test_redis_in_three_processes(model: type[Any], valkey_server_shared: ValkeyServer) -> None:
    run_against_model(model, lambda: under_a_prefix(valkey_server_shared), examples=12, steps=25)


@pytest.mark.redis
@pytest.mark.parametrize("model", MODELS)
def test_redis_in_one_process(model: type[Any], valkey_server_shared: ValkeyServer) -> None:
    run_against_model(model, lambda: shared(under_a_prefix(valkey_server_shared)), examples=12, steps=25)


def new_memory() -> StoresFactory:
    storage = MemoryStorage()
    return lambda clock: memory_stores(clock, storage)


def new_file(folder: Path) -> Path:
    return folder / f"{new_id()}.db"


def in_file(file: Path) -> StoresFactory:
    # What is kept over a loss of power is not asked here.
    options = SqliteOptions(file, synchronous="OFF", poll_seconds=0.01)
    return lambda clock: sqlite_stores(options, clock)


def under_a_prefix(server: ValkeyServer) -> StoresFactory:
    options = RedisOptions(server.url, prefix=f"model-{new_id()}")
    return lambda clock: redis_stores(options, clock)


def shared(make: StoresFactory) -> StoresFactory:
    """Return what gives every client the same stores."""
    made: list[Stores] = []

    def once(clock: Clock) -> Stores:
        if not made:
            made.append(make(clock))
        return made[0]

    return once
