"""What the benchmarks of JetStream share: the messages, the container, and what one writes with nats-py alone."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.nats_common import ITEMS, Item
from catga_core import CatgaContainer, CatgaOptions, Event, add_catga, message
from catga_core.reliability import ordered_by
from catga_nats import NatsOptions, add_nats_catga

EVENTS = "catga_events"
SUBJECT = "catga.js.event"
AT_ONCE = 256
IN_FLIGHT = 64


@message(delivery="at_least_once")
class OrderStored(Event, frozen=True):
    """Published only; a consumer that nobody reads keeps it in the stream."""

    order_id: str
    customer_id: str
    items: list[Item]


@message(delivery="at_least_once")
class OrderShipped(Event, frozen=True):
    """Handled by the container's consumer."""

    order_id: str
    customer_id: str
    items: list[Item]


@message(delivery="at_least_once")
class OrderPacked(Event, frozen=True):
    """The same, fetched by nats-py."""

    order_id: str
    customer_id: str
    items: list[Item]


@ordered_by(lambda event: event.order_id)
@message(delivery="at_least_once")
class OrderRelayed(Event, frozen=True):
    """Relayed by the outbox; each has a key of its own, so that none waits for another."""

    order_id: str
    customer_id: str
    items: list[Item]


def event(cls: type[Any], number: int = 1) -> Any:
    return cls(f"order-{number:012}", "customer-000000000001", ITEMS)


def container(url: str, **options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="bench", max_concurrent_requests=1000, **options))
    add_nats_catga(catga, NatsOptions(url, enable_jetstream=True))
    return catga


async def by_callers(call: Callable[[], Awaitable[object]], *, callers: int, count: int) -> None:
    async def caller() -> None:
        for _ in range(count // callers):
            await call()

    await asyncio.gather(*(caller() for _ in range(callers)))


class Raw:
    """What one writes with nats-py alone."""

    def __init__(self, client: Any, size: int) -> None:
        self._client = client
        self._payload = b"x" * size
        self._ids = (f"{os.getpid()}-{time.time_ns()}-{number:012}" for number in itertools.count())
        self.js: JetStreamContext = client.jetstream()

    async def publish(self, subject: str) -> None:
        await self.js.publish(subject, self._payload, headers={"Nats-Msg-Id": next(self._ids)})

    async def publish_at_once(self, subjects: Sequence[str], *, window: int) -> None:
        js = self._client.jetstream(publish_async_max_pending=window)
        payload, ids = self._payload, self._ids
        futures = [
            await js.publish_async(each, payload, headers={"Nats-Msg-Id": next(ids)}) for each in subjects
        ]
        await js.publish_async_completed()
        for each in futures:
            each.result()

    async def settled(self, consumer: str, *, stream: str = EVENTS) -> bool:
        """Return whether a consumer has nothing left, neither new nor unacknowledged."""
        answer = await self._client.request(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", b"", timeout=5)
        info = json.loads(answer.data)
        return bool(info["num_pending"] == 0 and info["num_ack_pending"] == 0)

    async def keep(self, durable: str, filter_subject: str) -> None:
        """Create a consumer, so that the stream keeps what it takes."""
        config = ConsumerConfig(
            durable_name=durable, filter_subject=filter_subject, ack_policy=AckPolicy.EXPLICIT
        )
        await self.js.add_consumer(EVENTS, config)

    async def bytes_of_one(self) -> int:
        """Return how many bytes the last message of the stream has, headers included."""
        info = await self.js.stream_info(EVENTS)
        assert info.state.messages == 1
        return info.state.bytes
