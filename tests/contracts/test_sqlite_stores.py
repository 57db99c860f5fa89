"""SQLite keeps every promise of the stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from catga_core.interfaces import StorageCapabilities
from catga_sqlite import SqliteOptions, sqlite_stores
from catga_sqlite.plugin import SQLITE_PORTS
from catga_testing.contracts import StoresContract, StoresFactory


class TestSqliteStores(StoresContract):
    ports = SQLITE_PORTS
    capabilities = StorageCapabilities(
        durable=True, shared=True, immediate=True, connection=True, joining_locks=True
    )
    payloads = True

    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> StoresFactory:
        options = SqliteOptions(tmp_path / "app.db", poll_seconds=0.01)
        return lambda clock: sqlite_stores(options, clock)
