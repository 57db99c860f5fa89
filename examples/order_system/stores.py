"""Where state is kept, as it is written on the command line: `memory`, `sqlite:///FILE` or `redis://HOST`."""

from __future__ import annotations

import argparse
import shlex
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import msgspec

FORMS = "memory, sqlite:///FILE or redis://HOST:PORT"


class StoreError(Exception):
    """A store is written in a way that nobody understands; the text says how it has to be."""


class StoreKind(StrEnum):
    """What keeps the state."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    REDIS = "redis"


class Store(msgspec.Struct, frozen=True):
    """One place for the state of one composition.

    Args:
        kind: What keeps it.
        place: The file of SQLite, or the URL of Redis.
        part: Which service's state it is, empty for that of everything in one process.
        temporary: Whether it is removed at the end.
    """

    kind: StoreKind
    place: str = ""
    part: str = ""
    temporary: bool = False

    @property
    def outlives_the_process(self) -> bool:
        """Whether the next run finds what this one leaves."""
        return self.kind is not StoreKind.MEMORY

    @property
    def file(self) -> Path:
        """The file of SQLite: each service has its own, beside the others."""
        path = Path(self.place)
        return path.with_name(f"{path.stem}-{self.part}{path.suffix}") if self.part else path

    @property
    def streams(self) -> Path | None:
        """The directory where the NATS server keeps events between two runs; `None` where nothing else is kept."""
        if self.temporary or not self.outlives_the_process:
            return None
        path = Path(self.place) if self.kind is StoreKind.SQLITE else Path("order-system")
        return path.with_name(f"{path.stem}-nats").absolute()

    @property
    def prefix(self) -> str:
        """What the names of all keys in Redis begin with."""
        return f"order-system-{self.part}" if self.part else "order-system"

    @property
    def argument(self) -> str:
        """The store as it is written on a command line."""
        return f"sqlite:///{quote(self.place)}" if self.kind is StoreKind.SQLITE else self.place or self.kind

    @property
    def option(self) -> str:
        """What to type for the same store once more; a password is not shown."""
        return "the same --store" if "@" in self.place else f"--store {shlex.quote(self.argument)}"

    def __str__(self) -> str:
        if self.kind is StoreKind.SQLITE:
            return "a temporary SQLite file" if self.temporary else f"the SQLite file {self.file}"
        if self.kind is StoreKind.REDIS:
            # Without the user's name and password.
            return f"Redis at {urlsplit(self.place).netloc.rpartition('@')[2] or 'localhost'}"
        return "memory"

    def of(self, service: str) -> Store:
        """Return the place for the state of one service."""
        return msgspec.structs.replace(self, part=service)


MEMORY = Store(StoreKind.MEMORY)


def parse_store(text: str) -> Store:
    """Read a store as it is written on a command line.

    Raises:
        StoreError: When it is none.
    """
    if text == "memory":
        return MEMORY
    # As in CatgaOptions(store=...): three slashes and the file, so four for one with its whole path.
    scheme, _, place = text.partition("://")
    if scheme == "sqlite" and place.startswith("/") and place != "/" and "?" not in place:
        return Store(StoreKind.SQLITE, unquote(place[1:]))
    if scheme in {"redis", "rediss"} and place:
        return Store(StoreKind.REDIS, text)
    raise StoreError(f"{text!r} is no store: write {FORMS}")


def store_argument(text: str) -> Store:
    """Do the same for an option of `argparse`."""
    try:
        return parse_store(text)
    except StoreError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
