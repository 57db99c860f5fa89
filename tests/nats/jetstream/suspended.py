"""A process that is suspended while it handles an event, and whose clocks do not show that."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from catga_core import (
    CatgaContainer,
    CatgaOptions,
    Clock,
    Event,
    EventStore,
    LeaseLostError,
    add_catga,
    message,
)
from catga_core.clock import SystemClock
from catga_core.interfaces import NamedValueStore, Storage
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.reliability import QueueOptions, add_queues, ordered_by
from catga_nats import NatsOptions, add_nats_catga
from catga_nats.jetstream import JetStreamOptions
from catga_nats.jetstream.queues import JetStreamQueues
from catga_redis import RedisOptions, add_redis_catga
from catga_testing.waiting import eventually

_SUSPENDED = 0.5  # seconds between two looks at the clock which only a suspended process needs


@ordered_by(lambda event: event.order)
@message(delivery="at_least_once")
class Changed(Event, frozen=True):
    order: str
    step: int


class Noted(Event, frozen=True):
    step: int
    by: str


class Behind:
    """How far the clocks of this process are behind."""

    seconds = 0.0

    @classmethod
    def suspend(cls) -> None:
        """Stop this process until it is continued."""
        last = time.monotonic()
        os.kill(os.getpid(), signal.SIGSTOP)
        while (now := time.monotonic()) - last < _SUSPENDED:
            last = now
        cls.seconds += now - last


class Loop(asyncio.SelectorEventLoop):
    def time(self) -> float:
        return super().time() - Behind.seconds


class StandingClock(SystemClock):
    def monotonic(self) -> float:
        return super().monotonic() - Behind.seconds


def composed(
    url: str, prefix: str, store: str, max_attempts: int = 10, membership_seconds: float = 2.0
) -> CatgaContainer:
    """Return a container with queues over JetStream and its state in a store, SQLite or Redis."""
    redis = store.startswith("redis:")
    catga = add_catga(CatgaOptions(service_name="notes", store=None if redis else store))
    if redis:
        add_redis_catga(catga, RedisOptions(store, prefix=prefix))
    add_queues(catga, QueueOptions(lease_seconds=2.0, max_attempts=max_attempts))
    jetstream = JetStreamOptions(membership_seconds=membership_seconds, order_groups=1)
    add_nats_catga(catga, NatsOptions(url, subject_prefix=prefix, enable_jetstream=True, jetstream=jetstream))
    return catga


async def main(url: str, prefix: str, store: str, where: str) -> None:
    """Handle events, and be suspended in the unit of work of the first one.

    Args:
        url: The server.
        prefix: The subject prefix.
        store: The URL of the store.
        where: `received` before the unit of work; `begun` before its first write; `looked` between the last look at the lease and
            the commit.
    """
    catga = composed(url, prefix, store)
    catga.add_singleton(Clock, StandingClock())

    async def note(event: Changed, storage: Storage, events: EventStore) -> None:
        try:
            print(f"begun {event.step}", flush=True)
            if where == "received":
                Behind.suspend()
            async with storage.unit_of_work():
                if where == "begun":
                    Behind.suspend()
                await events.append("notes", [Noted(event.step, "slow")])
        except LeaseLostError:
            print("refused", flush=True)
            raise
        print("committed", flush=True)

    catga.add_handlers(note)
    async with catga.running() as app:
        transport, values = app.get(DurableTransport), app.get(NamedValueStore)
        compare_and_set = values.compare_and_set

        async def suspended(name: str, value: int, /, *, expected: int | None) -> None:
            if where == "looked":
                Behind.suspend()
            await compare_and_set(name, value, expected=expected)

        values.compare_and_set = suspended  # type: ignore[method-assign] # this process alone
        assert isinstance(transport, JetStreamQueues)
        await eventually(lambda: transport._intake._ownership._owned)
        print("started", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main(*sys.argv[1:]))
