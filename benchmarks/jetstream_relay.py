"""The outbox relay to JetStream, next to nats-py's `publish_async`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.jetstream_common import EVENTS, IN_FLIGHT, SUBJECT, OrderRelayed, Raw, container, event
from benchmarks.measure import Row, paired
from catga_core import CatgaContainer
from catga_core.interfaces.health import Health
from catga_core.reliability import OutboxOptions, add_outbox
from catga_sqlite import SqliteOptions, add_sqlite_catga

RELAYED = 64 * 32


@asynccontextmanager
async def relaying(url: str, catga: CatgaContainer) -> AsyncGenerator[tuple[Any, Callable[[], Health]]]:
    add_outbox(catga, OutboxOptions(batch_size=IN_FLIGHT))
    async with catga.running() as app:
        yield app, app.outbox_relay.health


async def relays(raw: Raw, url: str, rounds: int) -> list[Row]:
    """The outbox relay, from the commit until the outbox knows all messages as sent, and nats-py's `publish_async`.

    The raw client publishes from memory, with as many in flight; the relay also reads each message from its store and marks it as
    sent there, with `synchronous=FULL` in SQLite.
    """
    rows: list[Row] = []
    subjects = [f"{SUBJECT}.OrderRelayed.p{number % 64}" for number in range(RELAYED)]
    await raw.keep("bench-relayed", f"{SUBJECT}.OrderRelayed.*")
    with tempfile.TemporaryDirectory(prefix="catga-bench-") as folder:
        memory, sqlite = container(url), container(url)
        add_sqlite_catga(sqlite, SqliteOptions(Path(folder) / "outbox.db", synchronous="FULL"))
        for title, catga in (("memory", memory), ("SQLite", sqlite)):
            async with relaying(url, catga) as (app, health):

                async def by_relay(app: Any = app, health: Callable[[], Health] = health) -> float:
                    await raw.js.purge_stream(EVENTS)
                    sent = health().details["sent"]
                    async with app.unit_of_work():
                        for number in range(RELAYED):
                            await app.mediator.publish(event(OrderRelayed, number))
                    began = time.perf_counter()
                    # The relay tells nobody that it is done.
                    while (details := health().details)["sent"] < sent + RELAYED or details["in_flight"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
                    return time.perf_counter() - began

                async def by_nats() -> float:
                    await raw.js.purge_stream(EVENTS)
                    began = time.perf_counter()
                    await raw.publish_at_once(subjects, window=IN_FLIGHT)
                    return time.perf_counter() - began

                ratio, ours, limit = await paired(by_relay, by_nats, rounds=rounds)
            name = f"outbox in {title} to JetStream / nats-py's publish_async, {IN_FLIGHT} in flight"
            rows.append(Row(name, ratio, RELAYED / ours, RELAYED / limit, "events/s", ">= 0.7"))
    return rows
