"""Event publishers of two processes over a Redis that loses its data while they run."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from catga_core import CatgaContainer, CatgaOptions, Event, EventHandler, add_catga, message
from catga_core.event_sourcing import add_event_publisher
from catga_testing.servers import ValkeyServer
from catga_testing.waiting import eventually

pytestmark = pytest.mark.redis


@message(name="publishers.moved")
class Moved(Event, frozen=True):
    number: int


class Published:
    def __init__(self) -> None:
        # In the order in which each was published first; one may be published again.
        self.numbers: list[int] = []


class Note(EventHandler[Moved]):
    def __init__(self, published: Published) -> None:
        self._published = published

    async def handle(self, message: Moved) -> None:
        if message.number not in self._published.numbers:
            self._published.numbers.append(message.number)


def compose(url: str, published: Published) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="publishers", store=url))
    catga.add_singleton(Published, published, instance=True)
    catga.add_handlers(Note)
    add_event_publisher(
        catga, stream="moved-*", lease_seconds=5.0, poll_seconds=0.05, retry_delay_seconds=0.05
    )
    return catga


async def test_publisher_publishes_what_is_appended_in_place_of_lost_events(
    valkey_server: ValkeyServer,
) -> None:
    url, published = valkey_server.url, Published()
    one, other = compose(url, published), compose(url, published)
    async with one.running() as app, other.running():
        for number in range(10):
            await app.event_store.append("moved-1", Moved(number))
        await eventually(lambda: published.numbers == list(range(10)), within=20.0)

        async with Redis.from_url(url) as client:
            await client.flushall()
        # At positions that the publishers have passed.
        for number in range(100, 105):
            await app.event_store.append("moved-1", Moved(number))

        await eventually(lambda: published.numbers[10:] == list(range(100, 105)), within=20.0)
        states = [each.health()["subscription_publisher_moved_all"] for each in (one, other)]
        assert "degraded" in [each.status for each in states]
        assert any("the log has lost the event at position 10" in each.description for each in states)
