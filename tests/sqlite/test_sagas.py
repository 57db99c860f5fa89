"""What only the sagas in SQLite promise: indexes, small rows, and files of earlier versions."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from catga_core.interfaces import SagaFilter, SagaStore
from catga_sqlite import SqliteOptions, sqlite_stores
from catga_sqlite.engine import saga_looks, saga_rows, schema
from catga_sqlite.engine.schema import MIGRATIONS
from catga_testing.contracts.stores.sagas.base import DONE, TOPIC, begun, ids, paused, taken
from tests.sqlite.support import query

LEAST = [each.name for each in MIGRATIONS].index("sagas")

SEARCHES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": text
    for module in (saga_rows, saga_looks)
    for name, text in vars(module).items()
    if isinstance(text, str) and re.match(r"(SELECT|UPDATE|DELETE) ", text) and name != "_FIND"
}
"""Every statement but the one that looks at each saga of a page."""


@pytest.mark.parametrize("name", SEARCHES)
async def test_saga_statement_scans_no_table(file: Path, name: str) -> None:
    """A hundred thousand waiting sagas cost nothing."""
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    await stores.storage.stop()
    values = re.sub(r"\?|:\w+", "'x'", SEARCHES[name])

    plan = [row[3] for row in await asyncio.to_thread(query, file, f"EXPLAIN QUERY PLAN {values}")]

    assert plan
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], plan


async def test_file_without_sagas_gets_their_tables(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", MIGRATIONS[:LEAST])
        stores = sqlite_stores(SqliteOptions(file))
        await stores.storage.start()
        await stores.storage.stop()

    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    await paused(stores[SagaStore], "o-1", 1.0)
    assert ids(await taken(stores[SagaStore])) == ["o-1"]
    await stores.storage.stop()


async def test_waiting_saga_takes_little_space(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    sagas = stores[SagaStore]
    await asyncio.gather(*(paused(sagas, f"order-{n:05}", 4e9, topics=[f"{TOPIC}/{n}"]) for n in range(2000)))
    await stores.storage.stop()

    size = (await asyncio.to_thread(file.stat)).st_size
    assert size / 2000 < 1024


async def test_pruned_saga_leaves_no_rows(file: Path) -> None:
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    sagas = stores[SagaStore]
    await paused(sagas, "o-1", topics=[TOPIC, "other"])
    claimed = await sagas.claim("o-1", lease=60)
    assert claimed is not None
    await sagas.append(claimed.claim, [b"1", b"2"], after=0)
    await sagas.rewrite(claimed.claim, [b"1"], version=2, data=b"", state=claimed.record.state)
    await begun(sagas, "o-2")
    await sagas.release(claimed.claim, [b"2"], after=1, pause=DONE)
    assert [each.saga.transaction_id for each in (await sagas.find(SagaFilter())).records] == ["o-1", "o-2"]
    assert await sagas.prune(older_than=-1.0) == 1
    await stores.storage.stop()

    for table, left in (("catga_sagas", 1), ("catga_saga_entries", 0), ("catga_saga_waits", 0)):
        assert await asyncio.to_thread(query, file, f"SELECT count(*) FROM {table}") == [(left,)]
