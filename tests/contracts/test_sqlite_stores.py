"""SQLite keeps every promise of the stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from catga_sqlite import SqliteOptions, sqlite_stores
from catga_testing.contracts import StoresContract, StoresFactory


class TestSqliteStores(StoresContract):
    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> StoresFactory:
        options = SqliteOptions(tmp_path / "app.db", poll_seconds=0.01)
        return lambda clock: sqlite_stores(options, clock)
