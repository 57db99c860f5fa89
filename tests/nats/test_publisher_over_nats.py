"""Appended events reach another service over NATS, in order per stream, also through an outage of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from catga_core import CatgaContainer, CatgaOptions, Event, HealthStatus, add_catga, current_context, message
from catga_core.event_sourcing import add_event_publisher
from catga_nats import NatsOptions, add_nats_catga
from catga_sqlite import add_sqlite_catga
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually

pytestmark = pytest.mark.nats


@message(name="nats.publisher.Moved")
class Moved(Event):
    stream: str
    number: int


def service(url: str, name: str, file: Path) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name))
    add_sqlite_catga(catga, str(file))
    add_nats_catga(catga, NatsOptions(url, while_disconnected="fail"))
    return catga


async def test_events_appended_during_an_outage_arrive_in_stream_order_after_it(
    nats_server: NatsServer, tmp_path: Path
):
    seen: list[tuple[str, int, str]] = []

    async def on_moved(event: Moved) -> None:
        seen.append((event.stream, event.number, current_context().message_id))

    readers = service(nats_server.url, "readers", tmp_path / "readers.db")
    readers.add_handlers(on_moved)
    writers = service(nats_server.url, "writers", tmp_path / "writers.db")
    add_event_publisher(
        writers, stream="moved-*", poll_seconds=0.05, retry_delay_seconds=0.05, max_retry_delay_seconds=0.2
    )
    async with readers.running() as reading:
        async with writers.running() as app:
            await app.event_store.append("moved-a", Moved("a", 1))
            await eventually(lambda: len(seen) == 1)

            await nats_server.kill()
            # What is sent before the loss is noticed is on its way at most once, as everything over core NATS.
            await eventually(lambda: app.health()["transport"].details["state"] == "reconnecting")
            for number in range(1, 6):
                await app.event_store.append("moved-b", Moved("b", number))
                await app.event_store.append("moved-c", Moved("c", number))
            name = "subscription_publisher_moved_all"
            await eventually(lambda: app.health()[name].details["state"] == "retrying")
            assert app.health()[name].status is HealthStatus.DEGRADED

        # The writer starts again when the reader is back: core NATS keeps no event for one that is away.
        await nats_server.restart()
        await eventually(lambda: reading.health()["transport"].details["state"] == "connected", within=15)
        assert len(seen) == 1
        async with writers.running() as app:
            await eventually(lambda: len(seen) == 11)
            stored = {each.message_id async for each in app.event_store.read_all()}

    assert {message_id for _, _, message_id in seen} == stored
    for stream in "bc":
        assert [number for name, number, _ in seen if name == stream] == [1, 2, 3, 4, 5]
