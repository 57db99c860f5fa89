"""How a process reaches the place of a run; written into its command line."""

from __future__ import annotations

import msgspec

from catga_core import CatgaContainer
from catga_nats import NatsOptions, add_nats_catga
from catga_nats.jetstream import JetStreamOptions
from catga_nats.jetstream.options import Schedules


class Way(msgspec.Struct, frozen=True):
    """How one process reaches the place of a run.

    Args:
        store: The URL of the storage: of everything, or over JetStream of the dead letters.
        servers: The NATS servers that keep the messages; empty where the storage does.
        replicas: How many NATS servers keep each stream.
        inboxes: The URLs of the storages whose inboxes deduplicate, each of a service of its own; empty without NATS.
        schedules: Who publishes commands whose time has come, the NATS server or processes; `None` as JetStream decides.
    """

    store: str
    servers: tuple[str, ...] = ()
    replicas: int = 1
    inboxes: tuple[str, ...] = ()
    schedules: Schedules | None = None

    def written(self) -> str:
        """Return it as a text."""
        return msgspec.json.encode(self).decode()


def read_way(text: str) -> Way:
    """Return the way that a text describes."""
    return msgspec.json.decode(text, type=Way)


def add_servers(catga: CatgaContainer, way: Way) -> None:
    """Have the messages of a container kept by the NATS servers of its way, if it has some.

    Args:
        catga: The container.
        way: How it reaches them.
    """
    if not way.servers:
        return
    options = NatsOptions(
        way.servers,
        connect_timeout=2.0,
        request_timeout=5.0,
        reconnect_wait=0.1,
        reconnect_jitter=0.1,
        # A node that stands still is left after at most twice as long.
        ping_interval=1.0,
        enable_jetstream=True,
        jetstream=JetStreamOptions(
            replicas=way.replicas, order_groups=4, membership_seconds=2.0, schedules=way.schedules
        ),
    )
    add_nats_catga(catga, options)


def stored_over(url: str) -> str:
    """Return the name of the system that a storage's URL leads to: `sqlite` or `redis`."""
    return url.partition(":")[0]
