"""How a process reaches the place of a run; written into its command line."""

from __future__ import annotations

import msgspec


class Way(msgspec.Struct, frozen=True):
    """How one process reaches the place of a run.

    Args:
        store: The URL of the storage: of everything, or over JetStream of the dead letters.
        servers: The NATS servers that keep the messages; empty where the storage does.
        replicas: How many NATS servers keep each stream.
        inboxes: The URLs of the storages whose inboxes deduplicate, each of a service of its own; empty without NATS.
    """

    store: str
    servers: tuple[str, ...] = ()
    replicas: int = 1
    inboxes: tuple[str, ...] = ()

    def written(self) -> str:
        """Return it as a text."""
        return msgspec.json.encode(self).decode()


def read_way(text: str) -> Way:
    """Return the way that a text describes."""
    return msgspec.json.decode(text, type=Way)


def stored_over(url: str) -> str:
    """Return the name of the system that a storage's URL leads to: `sqlite` or `redis`."""
    return url.partition(":")[0]
