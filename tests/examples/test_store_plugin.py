"""The worked store package keeps the contract, and is found by its entry point like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from catga_store_folder import FolderStorage

from catga_core import CatgaOptions, ConfigurationError, HealthStatus, add_catga
from catga_core.interfaces import CheckpointStore, DeadLetterStore, InboxStore, SnapshotStore
from examples.store_plugin.tests.test_contract import TestFolderStores
from examples.store_plugin.tests.test_crashes import (
    test_a_disk_that_fails_is_told_and_loses_nothing,
    test_a_folder_belongs_to_one_at_a_time,
    test_a_process_that_is_killed_leaves_whole_units_of_work,
    test_a_url_without_a_folder_is_a_wrong_composition,
    test_what_is_no_folder_of_this_kind_is_a_wrong_composition,
    test_what_is_not_open_is_told_so,
)
from tests.examples.installing import installed

# The package's own tests, run here as they stand.
__all__ = [
    "TestFolderStores",
    "test_a_disk_that_fails_is_told_and_loses_nothing",
    "test_a_folder_belongs_to_one_at_a_time",
    "test_a_process_that_is_killed_leaves_whole_units_of_work",
    "test_a_url_without_a_folder_is_a_wrong_composition",
    "test_what_is_no_folder_of_this_kind_is_a_wrong_composition",
    "test_what_is_not_open_is_told_so",
]

FOLDER = Path(__file__).parents[2] / "examples" / "store_plugin"


async def test_a_url_with_its_scheme_is_enough_to_keep_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(FOLDER, tmp_path / "site", monkeypatch)
    for expected in (None, 7):
        catga = add_catga(CatgaOptions(service_name="counting", store=f"folder://{tmp_path}/kept"))

        async with catga.running() as app:
            checkpoints = app.get(CheckpointStore)
            found = await checkpoints.load("totals")
            await checkpoints.save("totals", 7)

            assert (found and found.position) == expected
            assert app.health()["folder_storage"].status is HealthStatus.HEALTHY
            for port in (SnapshotStore, InboxStore, DeadLetterStore):
                assert isinstance(getattr(app.get(port), "_storage", None), FolderStorage)


def test_without_the_package_its_scheme_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match=r"catga\.stores is named 'folder'"):
        add_catga(CatgaOptions(store="folder:///kept"))
