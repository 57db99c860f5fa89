"""Transports, messages and waiting for the tests of JetStream."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from catga_core.clock import SystemClock
from catga_core.errors import CatgaError
from catga_core.interfaces.durable_transport import QueueDefinition, command_queue, event_queue
from catga_core.interfaces.queue import QueuedMessage
from catga_core.messages import MessageKind
from catga_core.messages.message_context import MessageContext
from catga_nats import NatsOptions
from catga_nats.jetstream import JetStreamOptions
from catga_nats.jetstream.queues import JetStreamQueues
from catga_nats.jetstream.received import JetMessage

SECONDS = 15.0


class Running:
    """Starts `JetStreamQueues`, and stops what is left at the end."""

    def __init__(self, url: str, **defaults: Any) -> None:
        self.url = url
        self._defaults = defaults
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self._all: list[JetStreamQueues] = []

    async def start(self, *, url: str | None = None, **options: Any) -> JetStreamQueues:
        queues = self.make(url=url, **options)
        await queues.start()
        self._all.append(queues)
        return queues

    def make(self, *, url: str | None = None, **options: Any) -> JetStreamQueues:
        nats: dict[str, Any] = {"reconnect_wait": 0.05, "reconnect_jitter": 0.05, "request_timeout": 5.0}
        nats |= {
            each: options.pop(each) for each in ("while_disconnected", "request_timeout") if each in options
        }
        given = {"membership_seconds": 2.0, **self._defaults, **options}
        settings = NatsOptions(
            url or self.url, subject_prefix=self.prefix, jetstream=JetStreamOptions(**given), **nats
        )
        return JetStreamQueues(settings, SystemClock())

    async def stop(self) -> None:
        for each in self._all:
            await each.stop()


def events(handler: str = "ship", *names: str, lease: float = 3.0, **more: Any) -> QueueDefinition:
    taken = names or ("orders.placed",)
    return QueueDefinition(event_queue("shop", handler), MessageKind.EVENT, taken, handler, 16, lease, **more)


def commands(name: str = "orders.bill", lease: float = 3.0, **more: Any) -> QueueDefinition:
    return QueueDefinition(command_queue(name), MessageKind.COMMAND, (name,), "bill", 16, lease, **more)


def queued(message_id: str | None = None, *, name: str = "orders.placed", **more: Any) -> QueuedMessage:
    made = message_id or uuid.uuid4().hex
    given = {"data": made.encode(), "due_at": 0.0, "created_at": 1.5, "fingerprint": "f", **more}
    return QueuedMessage(name, 1, "msgpack", context=MessageContext(made, made), **given)


async def receive(queues: JetStreamQueues, queue: QueueDefinition, count: int) -> list[JetMessage]:
    """Return so many messages, each as soon as it comes."""
    got: list[JetMessage] = []
    async with asyncio.timeout(SECONDS):
        while len(got) < count:
            got += await queues.receive(queue.name, limit=count - len(got), timeout=1.0)
    return got


async def consume(queues: JetStreamQueues, queue: QueueDefinition, seen: list[str]) -> None:
    """Complete every message until cancelled, and continue after errors of the transport."""
    while True:
        try:
            for each in await queues.receive(queue.name, limit=16, timeout=1.0):
                seen.extend(ids([each]))
                await queues.complete(each)
        except CatgaError:
            await asyncio.sleep(0.02)


async def nothing(queues: JetStreamQueues, queue: QueueDefinition, seconds: float = 0.4) -> bool:
    return not await queues.receive(queue.name, limit=10, timeout=seconds)


def ids(received: Sequence[JetMessage]) -> list[str]:
    return [each.message.context.message_id for each in received]
