"""A process that stands still longer than its lease changes nothing when it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from pathlib import Path

import pytest

from catga_core import CatgaApp
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.jetstream.noting import Changed, composed, publishing

pytestmark = pytest.mark.nats


async def test_a_former_owner_commits_nothing(jetstream_shared: NatsServer, tmp_path: Path) -> None:
    prefix, store = f"s{uuid.uuid4().hex[:12]}", tmp_path / "notes.db"
    slow = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.nats.jetstream.noting",
        *(jetstream_shared.url, prefix, str(store), str(tmp_path / "go")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert slow.stdout is not None
    try:
        assert await line(slow.stdout) == "started"
        # Published before another process can take the key over.
        async with publishing(jetstream_shared.url, prefix).running() as web:
            for step in (1, 2, 3):
                await web.mediator.publish(Changed("o", step))
        assert await line(slow.stdout) == "begun 1"
        async with composed(jetstream_shared.url, prefix, store, "fast").running() as app:
            os.kill(slow.pid, signal.SIGSTOP)
            await eventually(lambda: all_noted(app), within=30)
            (tmp_path / "go").touch()
            os.kill(slow.pid, signal.SIGCONT)
            assert await line(slow.stdout) in {"refused", "cancelled"}
            assert await notes(app) == [(1, "fast"), (2, "fast"), (3, "fast")]
    finally:
        slow.kill()
        await slow.wait()


async def line(stream: asyncio.StreamReader) -> str:
    async with asyncio.timeout(30):
        return (await stream.readline()).decode().strip()


async def all_noted(app: CatgaApp) -> bool:
    return len(await notes(app)) == 3


async def notes(app: CatgaApp) -> list[tuple[int, str]]:
    return [(each.event.step, each.event.by) async for each in app.event_store.read("notes")]
