"""The stores in a folder keep Catga's contract of stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from catga_store_folder import folder_stores

from catga_core.interfaces import (
    CheckpointStore,
    DeadLetterStore,
    InboxStore,
    SnapshotStore,
    StorageCapabilities,
)
from catga_testing.contracts import StoresContract, StoresFactory


class TestFolderStores(StoresContract):
    ports = (SnapshotStore, CheckpointStore, InboxStore, DeadLetterStore)
    capabilities = StorageCapabilities(durable=True, shared=False, immediate=True, connection=False)

    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> StoresFactory:
        return lambda clock: folder_stores(tmp_path / "kept", clock)
