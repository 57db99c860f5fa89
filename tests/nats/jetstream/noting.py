"""A process that notes events in its store, once a file permits it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, Event, EventStore, LeaseLostError, add_catga, message
from catga_core.interfaces import Storage
from catga_core.interfaces.durable_transport import DurableTransport
from catga_core.reliability import QueueOptions, add_queues, ordered_by
from catga_nats import NatsOptions, add_nats_catga
from catga_nats.jetstream import JetStreamOptions
from catga_nats.jetstream.queues import JetStreamQueues
from catga_testing.waiting import eventually


@ordered_by(lambda event: event.order)
@message(delivery="at_least_once")
class Changed(Event, frozen=True):
    order: str
    step: int


class Noted(Event, frozen=True):
    step: int
    by: str


def _queued(name: str, url: str, prefix: str, store: str | None = None) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name, store=store))
    add_queues(catga, QueueOptions(lease_seconds=2.0))
    jetstream = JetStreamOptions(membership_seconds=2.0, order_groups=1)
    add_nats_catga(catga, NatsOptions(url, subject_prefix=prefix, enable_jetstream=True, jetstream=jetstream))
    return catga


def publishing(url: str, prefix: str) -> CatgaContainer:
    """Return a container that only publishes."""
    return _queued("web", url, prefix)


def composed(url: str, prefix: str, store: Path, name: str, go: Path | None = None) -> CatgaContainer:
    """Return a container whose handler notes each event in its own unit of work, once the file `go` exists."""
    catga = _queued("notes", url, prefix, store=f"sqlite:///{store}")

    async def note(event: Changed, storage: Storage, events: EventStore) -> None:
        try:
            if go is not None:
                print(f"begun {event.step}", flush=True)
                while not go.exists():
                    await asyncio.sleep(0.01)
            async with storage.unit_of_work():
                await events.append("notes", [Noted(event.step, name)])
        except LeaseLostError:
            print("refused", flush=True)
            raise
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise

    catga.add_handlers(note)
    return catga


async def main(url: str, prefix: str, store: str, go: str) -> None:
    """Note events until the end."""
    async with composed(url, prefix, Path(store), "slow", Path(go)).running() as app:
        transport = app.get(DurableTransport)
        assert isinstance(transport, JetStreamQueues)
        await eventually(lambda: transport._intake._ownership._owned)
        print("started", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
