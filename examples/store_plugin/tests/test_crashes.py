"""What the contract cannot know of: a process that is killed, a disk that fails, a folder that is taken."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import catga_store_folder
import pytest
from catga_store_folder import disk, folder_stores

from catga_core import CatgaError, ConfigurationError, ErrorCode, HealthStatus, SystemClock, add_catga
from catga_core.errors import Outcome
from catga_core.interfaces import CheckpointStore, DeadLetterStore, InboxStore, Stores

WRITER = Path(__file__).with_name("writer.py")
SOURCES = Path(catga_store_folder.__file__).parents[1]


async def opened(path: Path) -> Stores:
    stores = folder_stores(path, SystemClock())
    await stores.storage.start()
    return stores


async def write_two(stores: Stores) -> None:
    async with stores.storage.unit_of_work():
        await stores[CheckpointStore].save("numbers", 2)
        await stores[InboxStore].record("m-2", "SendEmail")


async def test_a_process_that_is_killed_leaves_whole_units_of_work(tmp_path: Path) -> None:
    chance = random.Random(3)
    for _ in range(6):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(WRITER),
            str(tmp_path),
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(SOURCES)},
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            for _ in range(chance.randrange(1, 12)):
                await process.stdout.readline()
            await asyncio.sleep(chance.random() * 0.02)
            process.kill()
            told = (await process.stdout.read()).split()
            await process.wait()

        stores = await opened(tmp_path)
        found = await stores[CheckpointStore].load("numbers")
        assert found is not None
        last = found.position
        assert not told or last in {int(told[-1]), int(told[-1]) + 1}
        assert await stores[DeadLetterStore].count() == last
        assert all(
            [await stores[InboxStore].seen(f"m-{number}", "SendEmail") for number in range(1, last + 1)]
        )
        assert not await stores[InboxStore].seen(f"m-{last + 1}", "SendEmail")
        await stores.storage.stop()


@pytest.mark.parametrize("failing", ["journal", "table"])
async def test_a_disk_that_fails_is_told_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    stores = await opened(tmp_path)
    await stores[CheckpointStore].save("numbers", 1)
    write = disk.write_to_last

    def fail(file: Path, data: bytes) -> None:
        if file.parent == tmp_path if failing == "journal" else file.parent != tmp_path:
            raise OSError(28, "No space left on device")
        write(file, data)

    with monkeypatch.context() as full:
        full.setattr(disk, "write_to_last", fail)
        with pytest.raises(CatgaError, match="No space left") as raised:
            await write_two(stores)

    assert raised.value.code == ErrorCode.PERSISTENCE_FAILED
    decided = failing == "table"
    assert raised.value.outcome is (Outcome.UNKNOWN if decided else Outcome.NOT_WRITTEN)
    if decided:
        # What was decided on is finished before anything else is written.
        assert stores.storage.health().status is HealthStatus.UNHEALTHY
        with pytest.raises(CatgaError, match="start again"):
            await stores[CheckpointStore].save("numbers", 3)
        await stores.storage.stop()
        stores = await opened(tmp_path)
    found = await stores[CheckpointStore].load("numbers")
    assert found is not None
    assert found.position == (2 if decided else 1)
    assert await stores[InboxStore].seen("m-2", "SendEmail") is decided
    await stores[CheckpointStore].save("numbers", 3)
    await stores.storage.stop()


async def test_a_folder_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = await opened(tmp_path)

    with pytest.raises(ConfigurationError, match="another process uses"):
        await opened(tmp_path)

    await first.storage.stop()
    second = await opened(tmp_path)
    await second.storage.stop()


async def test_what_is_no_folder_of_this_kind_is_a_wrong_composition(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "journal").write_text("no journal")

    for name in ("file", "kept"):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await opened(tmp_path / name)


async def test_what_is_not_open_is_told_so(tmp_path: Path) -> None:
    stores = folder_stores(tmp_path, SystemClock())

    for asked in (stores[CheckpointStore].load("numbers"), stores[CheckpointStore].save("numbers", 1)):
        with pytest.raises(CatgaError, match="is not open") as raised:
            await asked
        assert raised.value.code == ErrorCode.PERSISTENCE_FAILED


@pytest.mark.parametrize(
    "url", ["folder://", "folder:///", "folder://here/there", "folder:there", "file:///there"]
)
def test_a_url_without_a_folder_is_a_wrong_composition(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write folder:///"):
        catga_store_folder.add_folder_stores(add_catga(), url)
