from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from blockbuster import blockbuster_ctx

from catga_core.messages.context import context_demand


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx():
        yield


@pytest.fixture(autouse=True)
def nobody_has_named_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins as a process in which no code has named current_context: the pipelines leave the context out."""
    monkeypatch.setattr(context_demand, "wanted", False)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """What Catga's log says during the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines
