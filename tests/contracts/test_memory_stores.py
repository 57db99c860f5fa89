"""The stores in memory keep the contract of every store."""

from __future__ import annotations

import pytest

from catga_core.local import MemoryStorage, memory_stores
from catga_testing.contracts import StoresContract, StoresFactory


class TestMemoryStores(StoresContract):
    @pytest.fixture
    def make_stores(self) -> StoresFactory:
        storage = MemoryStorage()
        return lambda clock: memory_stores(clock, storage)
