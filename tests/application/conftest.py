from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores import PLACES, Place, place_of


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where the test's containers keep their state: one test for each sort of storage."""
    return place_of(request.param, tmp_path)
