"""Replicas run schedules over JetStream, with their last ticks in a store that they share."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, MutableMapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from catga_core import CatgaApp, CatgaOptions, Command, add_catga
from catga_core.log import SCHEDULE_FAILED, TICK_CONFLICTED, TICK_SKIPPED
from catga_core.scheduling import OnOverlap, add_schedule
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually

pytestmark = pytest.mark.nats


class SweepRoom(Command[None]):
    room: str
    at: float


Schedules = dict[str, Callable[[datetime], SweepRoom]]


def swept(room: str) -> Callable[[datetime], SweepRoom]:
    return lambda tick: SweepRoom(room, tick.timestamp())


class Replicas:
    """Starts replicas whose handler waits until `open` is set."""

    def __init__(self, url: str, folder: Path) -> None:
        self.had: list[float] = []
        self.open = asyncio.Event()
        self.running = AsyncExitStack()
        self._url = url
        self._store = f"sqlite:///{folder}/app.db"
        self._prefix = f"c{uuid.uuid4().hex[:12]}"

    async def start(self, schedules: Schedules, **options: Any) -> CatgaApp:
        catga = add_catga(CatgaOptions(service_name="rooms", store=self._store))
        add_nats_catga(catga, NatsOptions(self._url, subject_prefix=self._prefix, enable_jetstream=True))

        async def sweep(command: SweepRoom) -> None:
            self.had.append(command.at)
            await self.open.wait()

        catga.add_handlers(sweep)
        for name, command in schedules.items():
            add_schedule(catga, name, command, every=0.25, **options)
        return await self.running.enter_async_context(catga.running())


def logged(log: list[MutableMapping[str, Any]], event: str) -> set[str]:
    return {line.get("message_id", "") for line in log if line["event"] == event}


async def test_tick_is_skipped_while_another_replica_handles_its_predecessor(
    jetstream_shared: NatsServer, tmp_path: Path
) -> None:
    replicas = Replicas(jetstream_shared.url, tmp_path)
    with structlog.testing.capture_logs() as log:
        async with replicas.running:
            for _ in range(2):
                await replicas.start({"kitchen": swept("kitchen")}, overlap=OnOverlap.SKIP)
            await eventually(lambda: len(logged(log, TICK_SKIPPED)) >= 3)
            assert len(replicas.had) == 1

            replicas.open.set()

            await eventually(lambda: len(replicas.had) >= 2)
    assert len(set(replicas.had)) == len(replicas.had)


async def test_other_command_of_a_key_is_passed_over_at_its_tick(
    jetstream_shared: NatsServer, tmp_path: Path
) -> None:
    replicas = Replicas(jetstream_shared.url, tmp_path)
    with structlog.testing.capture_logs() as log:
        async with replicas.running:
            await replicas.start({"kitchen": swept("kitchen"), "hall": swept("hall")}, key="rooms")
            await eventually(lambda: len(logged(log, TICK_CONFLICTED)) >= 2)
            await eventually(lambda: len(replicas.had) >= 3)
            replicas.open.set()
    assert len(set(replicas.had)) == len(replicas.had)
    assert logged(log, SCHEDULE_FAILED) == set()
