from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.core.sagas.replicas import Replicas


@pytest_asyncio.fixture
async def replicas() -> AsyncIterator[Replicas]:
    made = Replicas()
    async with made.running:
        yield made
