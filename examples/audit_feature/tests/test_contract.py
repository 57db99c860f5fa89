"""Both stores keep the contract of the port, and of storages and their units of work."""

from __future__ import annotations

from pathlib import Path

import pytest
from catga_audit import AuditStore, memory_audit_stores, sqlite_audit_stores

from catga_core.interfaces import StorageCapabilities
from catga_core.memory import MemoryStorage
from catga_testing.contracts import StoresContract, StoresFactory


class TestMemoryAudit(StoresContract):
    ports = (AuditStore,)
    capabilities = StorageCapabilities(durable=False, shared=False, immediate=True, connection=True)

    @pytest.fixture
    def make_stores(self) -> StoresFactory:
        storage = MemoryStorage()
        return lambda clock: memory_audit_stores(clock, storage)


class TestSqliteAudit(StoresContract):
    ports = (AuditStore,)
    capabilities = StorageCapabilities(durable=True, shared=True, immediate=False, connection=False)

    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> StoresFactory:
        path = str(tmp_path / "audit.db")
        return lambda clock: sqlite_audit_stores(path, clock)
