"""One SQLite file for each test, and a loop on whose thread nothing may block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog  # noqa: F401 - a container imports it when it starts, which reads files
from blockbuster import blockbuster_ctx

from catga_core.interfaces import Stores
from catga_sqlite import SqliteOptions, sqlite_stores


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
async def stores(file: Path) -> AsyncIterator[Stores]:
    stores = sqlite_stores(SqliteOptions(file, unit_of_work_timeout_seconds=0.3))
    await stores.storage.start()
    yield stores
    await stores.storage.stop()
