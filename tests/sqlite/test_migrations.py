"""Files of earlier versions get today's tables, whole or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from catga_core import ConfigurationError
from catga_core.clock import SystemClock
from catga_core.interfaces import OutboxStore, Stores
from catga_core.messages.message_context import MessageContext
from catga_core.storage_support.records import encode_context
from catga_sqlite import SqliteOptions, sqlite_stores
from catga_sqlite.engine import schema
from catga_sqlite.engine.schema import MIGRATIONS, Migration
from catga_testing.contracts.stores.records import message
from tests.sqlite.support import append, log_of, query

VERSIONS = "SELECT version, name FROM catga_schema ORDER BY version"


async def opened(file: Path) -> Stores:
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    return stores


async def test_a_new_file_tells_which_migrations_it_has_had(file: Path) -> None:
    stores = await opened(file)
    await stores.storage.stop()

    applied = await asyncio.to_thread(query, file, VERSIONS)

    assert applied == [(number, each.name) for number, each in enumerate(MIGRATIONS, 1)]


async def test_a_file_of_an_earlier_version_is_brought_up_to_date_with_its_data(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = await opened(file)
    await log_of(stores).append([append("order-1")])
    await stores.storage.stop()
    step = Migration(
        "notes", ("CREATE TABLE catga_notes (text TEXT)", "INSERT INTO catga_notes VALUES ('new')")
    )
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, step))

    for _ in range(2):
        stores = await opened(file)
        assert await log_of(stores).version("order-1") == 1
        await stores.storage.stop()

    assert (await asyncio.to_thread(query, file, VERSIONS))[-1] == (len(MIGRATIONS) + 1, "notes")
    assert await asyncio.to_thread(query, file, "SELECT * FROM catga_notes") == [("new",)]


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = await opened(file)
    await stores.storage.stop()
    step = Migration("broken", ("CREATE TABLE catga_notes (text TEXT)", "INSERT INTO nowhere VALUES (1)"))
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*MIGRATIONS, step))
        with pytest.raises(ConfigurationError, match="nowhere"):
            await opened(file)

    assert len(await asyncio.to_thread(query, file, VERSIONS)) == len(MIGRATIONS)
    assert (
        await asyncio.to_thread(query, file, "SELECT * FROM sqlite_master WHERE name = 'catga_notes'") == []
    )
    stores = await opened(file)
    await stores.storage.stop()


async def test_many_that_start_on_a_new_file_at_once_make_its_tables_once(file: Path) -> None:
    several = [sqlite_stores(SqliteOptions(file)) for _ in range(6)]

    await asyncio.gather(*(each.storage.start() for each in several))

    await asyncio.gather(*(log_of(each).append([append("order-1")]) for each in several))
    assert await log_of(several[0]).version("order-1") == 6
    for each in several:
        await each.storage.stop()
    assert len(await asyncio.to_thread(query, file, VERSIONS)) == len(MIGRATIONS)


async def test_outbox_of_an_earlier_version_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "outbox messages apart from their leases"
    earlier = MIGRATIONS[: [each.name for each in MIGRATIONS].index(name)]
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", earlier)
        await (await opened(file)).storage.stop()
    now = SystemClock().time()
    columns = "sequence, message_id, key, due_at, leased, fencing_token, attempts, error, sent_at"
    fixed = "name, schema_version, format, data, context, created_at, fingerprint"
    context = encode_context(MessageContext("m", "m"))
    rows: list[tuple[object, ...]] = [
        (1, "sent", None, 0.0, 0, 1, 0, None, now - 100),
        (2, "retrying", "a", now - 1, 0, 3, 2, "refused", None),
        (3, "behind", "a", 0.0, 0, 0, 0, None, None),
        (4, "leased", "b", now + 1000, 1, 1, 0, None, None),
        (5, "behind-leased", "b", 0.0, 0, 0, 0, None, None),
        (6, "waiting", None, now + 1000, 0, 1, 1, "refused", None),
    ]

    def fill() -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.executemany(
                f"INSERT INTO catga_outbox ({columns}, {fixed}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'Paid', 1, 'json', x'', ?, 5.0, '')",
                [(*row, context) for row in rows],
            )

    await asyncio.to_thread(fill)

    stores = await opened(file)
    outbox: OutboxStore = stores[OutboxStore]
    stats = await outbox.stats()
    given = await outbox.lease(limit=10, lease=60)
    await outbox.add([message("sent"), message("new")])
    await outbox.complete(given)
    [new] = await outbox.lease(limit=10, lease=60)
    pruned = await outbox.prune(older_than=50)
    await stores.storage.stop()

    assert (stats.pending, stats.retrying, stats.oldest_created_at) == (5, 2, 5.0)
    facts = [
        (each.message.context.message_id, each.attempts, each.fencing_token, each.error) for each in given
    ]
    assert facts == [("retrying", 2, 4, "refused"), ("behind", 0, 1, None)]
    assert (new.message.context.message_id, pruned) == ("new", 1)
    assert new.sequence > len(rows)
