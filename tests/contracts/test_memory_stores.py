"""The in-memory stores keep the contract of all stores."""

from __future__ import annotations

import pytest

from catga_core.interfaces import StorageCapabilities
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_testing.contracts import StoresContract, StoresFactory


class TestMemoryStores(StoresContract):
    ports = MEMORY_PORTS
    capabilities = StorageCapabilities(durable=False, shared=False, immediate=True, connection=True)

    @pytest.fixture
    def make_stores(self) -> StoresFactory:
        storage = MemoryStorage()
        return lambda clock: memory_stores(clock, storage)
