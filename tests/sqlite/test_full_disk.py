"""No room left: told clearly, nothing lost, nothing in halves, and it works again when there is some."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from catga_core import CatgaError, ErrorCode
from catga_sqlite import SqliteOptions, sqlite_stores
from tests.sqlite.support import append, log_of, prepare_writer, query, record, run

LARGE = b"x" * 20_000


async def test_a_full_file_refuses_what_does_not_fit_and_takes_what_does(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_writer(monkeypatch, lambda connection: connection.execute("PRAGMA max_page_count = 120"))
    stores = sqlite_stores(SqliteOptions(file))
    await stores.storage.start()
    log = log_of(stores)

    outcomes = await asyncio.gather(
        *(log.append([append(f"order-{number}", record(data=LARGE), record())]) for number in range(40)),
        return_exceptions=True,
    )

    refused = [each for each in outcomes if isinstance(each, CatgaError)]
    kept = [number for number, each in enumerate(outcomes) if isinstance(each, list)]
    assert len(refused) + len(kept) == 40
    assert refused
    assert len(kept) > 5
    assert {each.code for each in refused} == {str(ErrorCode.PERSISTENCE_FAILED)}
    assert {each.details["outcome"] for each in refused} == {"not_written"}
    assert all(each.retryable and each.details["sqlite"] == "SQLITE_FULL" for each in refused)
    assert [await log.version(f"order-{number}") for number in kept] == [2] * len(kept)
    assert await log.head() == 2 * len(kept)
    assert [each.version for each in await log.append([append("small")])] == [1]
    await stores.storage.stop()
    assert await asyncio.to_thread(query, file, "PRAGMA integrity_check") == [("ok",)]


def test_a_disk_that_refuses_to_write_on_loses_nothing(file: Path) -> None:
    # A limit of the process, which counts for each of its files as the end of a disk does.
    program = """
import asyncio, resource, sys
from catga_core import CatgaError
from catga_core.interfaces import (ANY, EventLog, EventRecord, StreamAppend)
from catga_sqlite import SqliteOptions, sqlite_stores

async def main():
    stores = sqlite_stores(SqliteOptions(sys.argv[1]))
    await stores.storage.start()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    failed = 0
    for number in range(60):
        event = EventRecord(f"m-{number}", "Paid", 1, "json", b"x" * 20_000, 1)
        try:
            await stores[EventLog].append([StreamAppend("orders", ANY, [event])])
            print("kept", event.message_id, flush=True)
        except CatgaError as error:
            failed += 1
            assert error.code == "PERSISTENCE_FAILED", error
            assert error.details["outcome"] in ("not_written", "unknown"), error
            print("refused", event.message_id, error.details["outcome"], flush=True)
    assert failed
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    event = EventRecord("afterwards", "Paid", 1, "json", b"{}", 1)
    await stores[EventLog].append([StreamAppend("orders", ANY, [event])])
    print("kept", event.message_id, flush=True)
    await stores.storage.stop()

asyncio.run(main())
"""
    process = run(program, file)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    said = [line.split() for line in output.splitlines()]

    async def there() -> list[str]:
        stores = sqlite_stores(SqliteOptions(file))
        await stores.storage.start()
        events = await log_of(stores).read_all(after=0, limit=1000)
        await stores.storage.stop()
        return [each.record.message_id for each in events]

    found = asyncio.run(there())
    kept = [identity for what, identity, *_ in said if what == "kept"]
    not_written = {identity for what, identity, *rest in said if rest == ["not_written"]}
    assert [each for each in found if each in kept] == kept
    assert not not_written & set(found)
    assert kept[-1] == "afterwards"
    assert query(file, "PRAGMA integrity_check") == [("ok",)]
