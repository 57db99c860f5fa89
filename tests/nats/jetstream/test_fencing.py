"""The storage refuses what a former owner of a key commits, also one whose clocks stood still."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from catga_core import CatgaApp, EventStore
from catga_core.errors import Outcome, TransportError
from catga_core.interfaces import NamedValueStore, Storage
from catga_core.interfaces.durable_transport import DurableTransport, Received
from catga_nats.jetstream.api import call
from catga_nats.jetstream.queues import JetStreamQueues
from catga_redis.storage import RedisStorage
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.jetstream.suspended import Changed, Noted, composed

pytestmark = pytest.mark.nats

STEPS = (1, 2, 3)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        url: str = request.getfixturevalue("valkey_server_shared").url
        return url
    return f"sqlite:///{tmp_path / 'notes.db'}"


@pytest.fixture
def prefix() -> str:
    return f"f{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize(
    ("store", "where"),
    [
        ("sqlite", "received"),
        ("redis", "received"),
        ("sqlite", "begun"),
        ("redis", "begun"),
        ("redis", "looked"),
    ],
    indirect=["store"],
)
async def test_suspended_former_owner_commits_nothing(
    jetstream_shared: NatsServer, prefix: str, store: str, where: str
) -> None:
    slow = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.nats.jetstream.suspended",
        *(jetstream_shared.url, prefix, store, where),
        stdout=asyncio.subprocess.PIPE,
    )
    assert slow.stdout is not None
    try:
        assert await line(slow.stdout) == "started"
        async with composed(jetstream_shared.url, prefix, store).running() as web:
            for step in STEPS:
                await web.mediator.publish(Changed("o", step))
        assert await line(slow.stdout) == "begun 1"
        async with Noting(jetstream_shared.url, prefix, store) as running:
            app = await running.start()
            await eventually(lambda: noted(app, len(STEPS)), within=30)

            os.kill(slow.pid, signal.SIGCONT)

            assert await line(slow.stdout) == "refused"
            await app.mediator.publish(Changed("o", 4))
            await eventually(lambda: noted(app, 4), within=30)
            assert await notes(app) == [(step, "fast") for step in (*STEPS, 4)]
    finally:
        slow.kill()
        await slow.wait()


async def test_token_that_is_written_late_delays_the_owner_once(
    jetstream_shared: NatsServer, prefix: str, store: str
) -> None:
    # Were the refused attempt counted, the event would be a dead letter.
    async with Noting(jetstream_shared.url, prefix, store, max_attempts=1) as running:
        running.disturb = True
        app = await running.start()
        for step in STEPS:
            await app.mediator.publish(Changed("o", step))

        await eventually(lambda: noted(app, len(STEPS)), within=20)

        assert await notes(app) == [(step, "fast") for step in STEPS]
        assert running.begun == [1, 1, 2, 3]
        details = app.health()["queue_consumers"].details
        assert (details["retried"], details["dead"]) == (0, 0)


async def test_keys_of_one_group_are_committed_in_parallel(
    jetstream_shared: NatsServer, prefix: str, store: str
) -> None:
    async with Noting(jetstream_shared.url, prefix, store) as running:
        app = await running.start()
        for step in range(40):
            await app.mediator.publish(Changed(f"o-{step}", step))

        await eventually(lambda: noted(app, 40), within=20)

        assert sorted(running.begun) == list(range(40))
        fences = await app.get(NamedValueStore).list("catga-fence:")
        assert len(fences) == 1


async def test_owner_commits_after_the_bucket_was_lost(
    jetstream_shared: NatsServer, prefix: str, store: str
) -> None:
    async with Noting(jetstream_shared.url, prefix, store) as running:
        app = await running.start()
        transport, values = app.get(DurableTransport), app.get(NamedValueStore)
        assert isinstance(transport, JetStreamQueues)
        await app.mediator.publish(Changed("o", 1))
        await eventually(lambda: noted(app, 1), within=20)
        before = await values.list("catga-fence:")

        await call(transport._connection, f"STREAM.DELETE.KV_{prefix}_queues")
        await eventually(lambda: is_owned_again(transport, before), within=20)
        await app.mediator.publish(Changed("o", 2))
        await eventually(lambda: noted(app, 2), within=20)

        after = await values.list("catga-fence:")
        assert after.keys() == before.keys()
        assert after != before


@pytest.mark.parametrize("store", ["redis"], indirect=True)
async def test_commit_of_a_former_attempt_of_one_process_is_refused(
    jetstream_shared: NatsServer, prefix: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Noting(jetstream_shared.url, prefix, store, membership_seconds=60.0) as running:
        app = await running.start()
        storage, transport = app.get(Storage), app.get(DurableTransport)
        assert isinstance(storage, RedisStorage)
        commits = storage.commands
        commit, extend = commits.commit, transport.extend
        committing, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow(unit: str, operations: Sequence[tuple[Any, ...]]) -> Any:
            if running.begun == [1] and not committing.is_set():
                committing.set()
                await go_on.wait()
                answer = await commit(unit, operations)
                ended.set()
                return answer
            return await commit(unit, operations)

        async def unreachable(received: Sequence[Received], /) -> Sequence[Received]:
            if running.begun == [1]:
                raise TransportError("the server is away", outcome=Outcome.NOT_SENT)
            return await extend(received)

        monkeypatch.setattr(transport, "extend", unreachable)
        monkeypatch.setattr(commits, "commit", slow)
        for step in (1, 2):
            await app.mediator.publish(Changed("o", step))
        await eventually(lambda: noted(app, 2), within=20)
        go_on.set()
        await eventually(lambda: ended.is_set())

        assert running.begun == [1, 1, 2]
        assert await notes(app) == [(1, "fast"), (2, "fast")]


class Noting(AsyncExitStack):
    """A process whose handler notes each event, and what its handler has begun."""

    def __init__(
        self, url: str, prefix: str, store: str, *, max_attempts: int = 10, membership_seconds: float = 2.0
    ) -> None:
        super().__init__()
        self.catga = composed(url, prefix, store, max_attempts, membership_seconds)
        self.begun: list[int] = []
        self.disturb = False

    async def start(self) -> CatgaApp:
        async def note(event: Changed, storage: Storage, events: EventStore, values: NamedValueStore) -> None:
            async with storage.unit_of_work():
                self.begun.append(event.step)
                if self.disturb:
                    self.disturb = False
                    # As a former owner does that stood still right before it wrote its own.
                    await asyncio.create_task(overwrite(values), context=Context())
                await events.append(f"notes-{event.order}", [Noted(event.step, "fast")])

        self.catga.add_handlers(note)
        return await self.enter_async_context(self.catga.running())


async def is_owned_again(transport: JetStreamQueues, before: Mapping[str, int]) -> bool:
    [name] = before
    token, group = name.rsplit(":", 1)[1].rsplit("-g", 1)
    fence = transport._intake._groups._fences.get((token, int(group)))
    return fence is not None and fence.token is None


async def overwrite(values: NamedValueStore) -> None:
    for name in await values.list("catga-fence:"):
        await values.set(name, 1)


async def line(stream: asyncio.StreamReader) -> str:
    async with asyncio.timeout(30):
        return (await stream.readline()).decode().strip()


async def noted(app: CatgaApp, count: int) -> bool:
    return len(await notes(app)) == count


async def notes(app: CatgaApp) -> list[tuple[int, str]]:
    events = [each.event async for each in app.event_store.read_all()]
    return [(each.step, each.by) for each in events if isinstance(each, Noted)]
