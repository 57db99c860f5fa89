"""Places to keep state in, so that one test runs over each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

import catga_redis.stores  # noqa: F401 - loaded here: imported within a loop, its reading of files would block that
from catga_core import CatgaContainer, CatgaOptions, add_catga
from catga_core.clock import Clock
from catga_core.container import add_stores
from catga_core.identifiers import new_id
from catga_core.interfaces import Stores
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_redis import RedisOptions, add_redis_catga
from catga_sqlite import SqliteOptions, add_sqlite_catga

PLACES = ["memory", "sqlite", "redis"]
"""What `place_of` knows."""


class Place(msgspec.Struct, frozen=True):
    """One place: every container it is given to shares the data in it, as processes do.

    Parameters:
        name: which sort.
        add: puts its stores into a container.
        durable: whether what is in it outlives the process.
    """

    name: str
    add: Callable[[CatgaContainer], None]
    durable: bool

    def container(self, **options: object) -> CatgaContainer:
        """Return a new container whose stores are here."""
        catga = add_catga(CatgaOptions(**{"outbox_poll_seconds": 0.05, **options}))  # type: ignore[arg-type]
        self.add(catga)
        return catga


def place_of(name: str, folder: Path, server_url: Callable[[], str]) -> Place:
    """Return a new, empty place.

    Parameters:
        name: one of `PLACES`.
        folder: where files may be put.
        server_url: gives the URL of a server; called where one is needed.
    """
    if name == "redis":
        redis = RedisOptions(server_url(), prefix=f"place-{new_id()}")
        return Place(name, lambda catga: add_redis_catga(catga, redis), durable=True)
    if name == "sqlite":
        options = SqliteOptions(folder / "app.db", poll_seconds=0.01)
        return Place(name, lambda catga: add_sqlite_catga(catga, options), durable=True)
    storage = MemoryStorage()

    def make(clock: Clock) -> Stores:
        return memory_stores(clock, storage)

    def add(catga: CatgaContainer) -> None:
        add_stores(catga, make, MEMORY_PORTS, name="memory")

    return Place(name, add, durable=False)
