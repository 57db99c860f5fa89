"""The servers of this process that are not closed yet."""

from __future__ import annotations

import atexit
import os
from typing import Protocol


class Closable(Protocol):
    """Something to close when the program ends."""

    def close(self) -> None:
        """Close it."""
        ...


_open: dict[int, tuple[Closable, int]] = {}


def close_at_exit(server: Closable) -> None:
    """Close the server when this program ends, unless `closed` was called before."""
    _open[id(server)] = (server, os.getpid())


def closed(server: Closable) -> None:
    """Say that the server is closed."""
    _open.pop(id(server), None)


@atexit.register
def _close_all() -> None:
    for server, owner in list(_open.values()):
        # A forked child has inherited this table, and must not end its parent's servers.
        if owner == os.getpid():
            server.close()
