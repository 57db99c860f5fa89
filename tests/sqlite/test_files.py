"""Files that can be used, and clear words for those that cannot."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from catga_core import CatgaError, ConfigurationError
from catga_core.interfaces import HealthStatus, Stores
from catga_sqlite import SqliteOptions, sqlite_stores
from catga_sqlite.engine.schema import MIGRATIONS
from tests.sqlite.support import append, log_of, query, run


def made(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def refused(options: SqliteOptions) -> str:
    stores = sqlite_stores(options)
    with pytest.raises(ConfigurationError) as raised:
        await stores.storage.start()
    await stores.storage.stop()
    return str(raised.value)


async def used(file: Path) -> None:
    stores: Stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    await log_of(stores).append([append("order-1")])
    await stores.storage.stop()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    text = "customer,amount\n" * 100
    await asyncio.to_thread(file.write_text, text)

    assert "not a SQLite database" in await refused(SqliteOptions(file))

    assert await asyncio.to_thread(file.read_text) == text


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let an open file be removed")
@pytest.mark.parametrize("what", ["removed", "moved", "replaced"])
async def test_nothing_is_acknowledged_that_goes_into_a_file_that_is_no_longer_there(
    file: Path, tmp_path: Path, what: str
) -> None:
    def take_away() -> None:
        if what == "removed":
            file.unlink()
            return
        file.rename(tmp_path / "elsewhere.db")
        if what == "replaced":
            made(file, "CREATE TABLE own (n)")

    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    await log_of(stores).append([append("order-1")])
    await asyncio.to_thread(take_away)

    with pytest.raises(CatgaError, match="removed, moved or replaced while it was open") as alone:
        await log_of(stores).append([append("order-1")])
    with pytest.raises(CatgaError, match="removed, moved or replaced while it was open"):
        async with stores.storage.unit_of_work():
            await log_of(stores).append([append("order-1")])

    assert alone.value.details["outcome"] == "not_written"
    assert not alone.value.retryable
    assert stores.storage.health().status is HealthStatus.DEGRADED
    await stores.storage.stop()


async def test_a_process_may_go_to_another_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(monkeypatch.chdir, file.parent)
    stores = sqlite_stores(SqliteOptions(file.name))
    await stores.storage.start()
    await asyncio.to_thread(monkeypatch.chdir, "/")
    await log_of(stores).append([append("order-1")])

    assert len(await log_of(stores).read_all(after=0, limit=10)) == 1
    assert await asyncio.to_thread(file.exists)
    await stores.storage.stop()


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    problem = await refused(SqliteOptions(tmp_path / "nowhere" / "app.db"))

    assert f"the directory {str(tmp_path / 'nowhere')!r} does not exist" in problem


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a directory" in await refused(SqliteOptions(tmp_path))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter, which pytest's own and those above it may refuse."""
    with tempfile.TemporaryDirectory(dir="/tmp" if os.name == "posix" else None) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_cannot_be_written_is_refused(open_folder: Path, what: str) -> None:
    folder = open_folder / "kept"
    folder.mkdir()
    file = folder / "app.db"
    asyncio.run(used(file))
    file.chmod(0o444 if what == "file" else 0o666)
    folder.chmod(0o777 if what == "file" else 0o555)
    program = """
import asyncio, os, sys
from catga_core import ConfigurationError
from catga_sqlite import SqliteOptions, sqlite_stores
stores = sqlite_stores(SqliteOptions(sys.argv[1]))
# Root may write everything: somebody else tries.
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(stores.storage.start())
except ConfigurationError as error:
    print(error)
"""
    process = run(program, file)
    output, errors = process.communicate(timeout=30)
    folder.chmod(0o755)  # so that it can be removed

    problem = {"file": "may not read and write", "folder": "which holds the write-ahead log"}[what]
    assert problem in output, errors


async def test_a_newer_schema_is_refused_and_left_alone(file: Path) -> None:
    await used(file)
    newer = len(MIGRATIONS) + 1
    insert = f"INSERT INTO catga_schema (version, name) VALUES ({newer}, 'from the future')"
    await asyncio.to_thread(made, file, insert)

    problem = await refused(SqliteOptions(file))

    assert "newer Catga" in problem
    assert f"version is {newer}" in problem
    assert await asyncio.to_thread(query, file, "SELECT count(*) FROM catga_events") == [(1,)]


async def test_a_file_of_another_application_is_refused_unless_it_is_said_to_be_ones_own(file: Path) -> None:
    await asyncio.to_thread(made, file, "PRAGMA application_id = 0x1234", "CREATE TABLE birds (name TEXT)")

    problem = await refused(SqliteOptions(file))

    assert "belongs to another application" in problem
    assert "application_id=0x1234" in problem
    assert await asyncio.to_thread(query, file, "SELECT name FROM sqlite_master") == [("birds",)]
    stores = sqlite_stores(SqliteOptions(file, application_id=0x1234))
    await stores.storage.start()
    await stores.storage.stop()
    assert await asyncio.to_thread(query, file, "PRAGMA application_id") == [(0x1234,)]


async def test_a_file_with_own_tables_keeps_them(file: Path) -> None:
    await asyncio.to_thread(
        made,
        file,
        "CREATE TABLE birds (name TEXT)",
        "INSERT INTO birds VALUES ('wren')",
        "PRAGMA user_version = 7",
    )

    await used(file)

    assert await asyncio.to_thread(query, file, "SELECT * FROM birds") == [("wren",)]
    assert await asyncio.to_thread(query, file, "PRAGMA user_version") == [(7,)]
    tables = await asyncio.to_thread(query, file, "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert all(name.startswith(("catga_", "sqlite_")) or name == "birds" for (name,) in tables)


async def test_a_file_that_another_holds_for_too_long_is_refused(file: Path) -> None:
    await used(file)
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")

        problem = await refused(SqliteOptions(file, busy_timeout_seconds=0.05))

    assert "by another process" in problem


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"path": ""}, "path=''"),
        ({"path": ":memory:"}, "path=':memory:'"),
        ({"path": "file:app.db?mode=memory"}, "several connections can share"),
        ({"path": 3}, "path=3"),
        ({"path": "a\0b"}, "Set a file path"),
        ({"synchronous": "SOMETIMES"}, "'OFF', 'NORMAL', 'FULL', 'EXTRA'"),
        ({"busy_timeout_seconds": -1}, "busy_timeout_seconds=-1"),
        ({"busy_timeout_seconds": True}, "busy_timeout_seconds=True"),
        ({"unit_of_work_timeout_seconds": float("nan")}, "unit_of_work_timeout_seconds=nan"),
        ({"poll_seconds": 0}, "poll_seconds=0"),
        ({"readers": 0}, "readers=0"),
        ({"readers": 1.5}, "readers=1.5"),
        ({"application_id": 0}, "application_id=0"),
        ({"file_mode": 0o444}, "file_mode=0o444"),
        ({"file_mode": 0o1777}, "file_mode=0o1777"),
        ({"file_mode": "0600"}, "file_mode='0600'"),
        ({"file_mode": True}, "file_mode=True"),
        ({"path": "\ud800.db"}, "Set a file path"),
    ],
)
def test_options_that_cannot_work_are_refused(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        SqliteOptions(**{"path": "app.db", **given})  # type: ignore[arg-type]  # on purpose

    assert problem in str(raised.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        SqliteOptions("", synchronous="LATER", readers=-1)  # type: ignore[arg-type]  # on purpose

    assert len(raised.value.problems) == 3


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("app.db", "app.db"),
        ("/var/lib/app.db", "/var/lib/app.db"),
        ("what?.db", "what?.db"),
        ("sqlite:///app.db", "app.db"),
        ("sqlite:////var/lib/app.db", "/var/lib/app.db"),
        ("sqlite:///my%20app.db", "my app.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert SqliteOptions.from_url(url).file == path


def test_a_url_sets_options() -> None:
    options = SqliteOptions.from_url("sqlite:///app.db?synchronous=NORMAL&busy_timeout_seconds=2.5&readers=3")

    assert options == SqliteOptions("app.db", synchronous="NORMAL", busy_timeout_seconds=2.5, readers=3)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite://app.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///app.db?path=b.db", "sets 'path', which is not an option"),
        ("sqlite:///app.db?fast=1", "sets 'fast', which is not an option"),
        ("sqlite:///app.db?reeders=3", "which is not an option: did you mean 'readers'?"),
        ("sqlite:///app.db?readers=many", "which is not a whole number: write one, such as readers=10"),
        ("sqlite:///app.db?busy_timeout_seconds=soon", "which is not a number"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        SqliteOptions.from_url(url)

    assert problem in str(raised.value)


def test_importing_the_package_loads_no_driver() -> None:
    process = run(
        "import sys, catga_sqlite; print('sqlite3' in sys.modules, catga_sqlite.sqlite_stores.__name__)"
    )

    assert process.communicate(timeout=30)[0].split() == ["False", "sqlite_stores"]
    assert process.returncode == 0


def modes(file: Path) -> set[int]:
    return {
        stat.S_IMODE(each.stat().st_mode) for each in file.parent.iterdir() if each.name.startswith(file.name)
    }


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o660, 0o660), (None, 0o644)])
async def test_new_file_and_its_log_have_the_permissions_of_the_option(
    file: Path, mode: int | None, expected: int
) -> None:
    before = os.umask(0o022)
    try:
        stores = sqlite_stores(SqliteOptions(file, file_mode=mode))
        await stores.storage.start()
        await log_of(stores).append([append("order-1")])
        found = await asyncio.to_thread(modes, file)
        await stores.storage.stop()
    finally:
        os.umask(before)

    assert found == {expected}
    assert await asyncio.to_thread(modes, file) == {expected}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
async def test_new_file_behind_a_link_is_private(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    await asyncio.to_thread(link.symlink_to, file)

    await used(link)

    assert await asyncio.to_thread(modes, file) == {0o600}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
async def test_existing_file_keeps_its_permissions(file: Path) -> None:
    await asyncio.to_thread(made, file, "CREATE TABLE own (n)")
    await asyncio.to_thread(file.chmod, 0o640)
    stores = sqlite_stores(SqliteOptions(file))

    await stores.storage.start()
    await stores.storage.stop()

    assert await asyncio.to_thread(modes, file) == {0o640}


@pytest.mark.parametrize("statement", ["SELECT * FROM own", "INSERT INTO own VALUES (2)"])
async def test_first_start_waits_for_another_connection(file: Path, statement: str) -> None:
    await asyncio.to_thread(made, file, "CREATE TABLE own (n)")
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN")
        await asyncio.to_thread(lambda: other.execute(statement).fetchall())
        short = await refused(SqliteOptions(file, busy_timeout_seconds=0.1))
        stores = sqlite_stores(SqliteOptions(file, busy_timeout_seconds=30))
        starting = asyncio.create_task(stores.storage.start())
        await asyncio.wait({starting}, timeout=0.2)
        waits = not starting.done()
        await asyncio.to_thread(other.execute, "COMMIT")
        await starting
    await stores.storage.stop()

    assert "busy_timeout_seconds" in short
    assert waits
    assert await asyncio.to_thread(query, file, "PRAGMA journal_mode") == [("wal",)]


async def test_many_processes_start_on_a_new_file_at_once(file: Path) -> None:
    program = """
import asyncio, sys
from catga_sqlite import SqliteOptions, sqlite_stores
async def main() -> None:
    stores = sqlite_stores(SqliteOptions(sys.argv[1], busy_timeout_seconds=30))
    print("ready", flush=True)
    sys.stdin.readline()
    await stores.storage.start()
    await stores.storage.stop()
asyncio.run(main())
"""

    def race() -> list[str]:
        processes = [run(program, file, stdin=subprocess.PIPE) for _ in range(6)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.communicate(timeout=60)[1] for process in processes]

    assert await asyncio.to_thread(race) == [""] * 6


async def test_path_beyond_ascii_is_opened_under_the_locale_c(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from catga_core.interfaces import EventLog
from catga_sqlite import SqliteOptions, sqlite_stores
from tests.sqlite.support import append
async def main() -> None:
    for name in ("\\u00e4.db", "\\u00e4/b.db", "\\u6ce8.db"):
        stores = sqlite_stores(SqliteOptions(f"{sys.argv[1]}/{name}"))
        try:
            await stores.storage.start()
            await stores[EventLog].append([append("s")])
        except Exception as error:
            print(ascii(str(error)))
        await stores.storage.stop()
asyncio.run(main())
"""
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    process = await asyncio.to_thread(run, program, tmp_path, env=environment)
    printed, errors = await asyncio.to_thread(process.communicate, timeout=60)

    assert errors == ""
    assert [line for line in printed.splitlines() if "does not exist" in line] == printed.splitlines()
    assert len(printed.splitlines()) == 1
    assert await asyncio.to_thread(lambda: sorted(each.name for each in tmp_path.iterdir())) == [
        "\u00e4.db",
        "\u6ce8.db",
    ]
