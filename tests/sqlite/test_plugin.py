"""SQLite in a container."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from catga_core import CatgaOptions, ConfigurationError, add_catga
from catga_core.interfaces import EventLog, LockProvider, OutboxStore
from catga_core.unit_of_work import connection_of
from catga_sqlite import SqliteConnection, SqliteOptions, add_sqlite_catga, sqlite_stores
from catga_sqlite.plugin import SQLITE_PORTS
from tests.sqlite.support import append


@pytest.mark.parametrize("form", ["text", "path", "url", "options"])
async def test_one_line_chooses_the_file(file: Path, form: str) -> None:
    forms: dict[str, str | Path | SqliteOptions] = {
        "text": str(file),
        "path": file,
        "url": f"sqlite:///{file}",
        "options": SqliteOptions(file),
    }
    for version in (1, 2):
        catga = add_catga()
        add_sqlite_catga(catga, forms[form])
        async with catga.running() as app:
            log = app.get(EventLog)
            assert [each.version for each in await log.append([append("order-1")])] == [version]


async def test_declared_ports_equal_the_ports_of_the_stores(file: Path) -> None:
    assert sqlite_stores(SqliteOptions(file)).ports == SQLITE_PORTS


async def test_a_configured_url_does_the_same(file: Path) -> None:
    options = CatgaOptions(store=f"sqlite:///{file}?synchronous=NORMAL")
    # Looking for plugins reads files.
    catga = await asyncio.to_thread(add_catga, options)

    async with catga.running() as app:
        await app.get(EventLog).append([append("order-1")])
        assert type(app.get(LockProvider)).__module__.startswith("catga_sqlite")
        assert type(app.get(OutboxStore)).__module__.startswith("catga_sqlite")


async def test_a_file_that_cannot_be_used_fails_the_start(tmp_path: Path) -> None:
    catga = add_catga()
    add_sqlite_catga(catga, tmp_path / "nowhere" / "app.db")

    with pytest.raises(ConfigurationError, match="does not exist"):
        async with catga.running():
            pass


async def test_the_containers_unit_of_work_is_the_files(file: Path) -> None:
    catga = add_catga()
    add_sqlite_catga(catga, file)

    async with catga.running() as app:
        with pytest.raises(ZeroDivisionError):
            async with app.unit_of_work() as unit:
                await connection_of(unit, SqliteConnection).execute("CREATE TABLE birds (name TEXT)")
                await app.get(EventLog).append([append("order-1")])
                raise ZeroDivisionError
        assert await app.get(EventLog).head() == 0
