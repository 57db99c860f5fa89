from __future__ import annotations

import pytest

from catga_core.interfaces import Stores
from catga_core.memory.stores import MemoryStorage, memory_stores
from catga_testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def stores(clock: ManualClock, storage: MemoryStorage) -> Stores:
    return memory_stores(clock, storage)
