"""Where state is kept while applications are killed: a SQLite file, or a Valkey server that is killed too."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from catga_testing.servers import ValkeyServer


class Place(ABC):
    """One place, as an application is told of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    @abstractmethod
    def can_break(self) -> bool:
        """Whether it is a process of its own, which can be killed as well."""

    @abstractmethod
    async def break_and_mend(self) -> None:
        """Kill it, and start it again with what it had kept."""


class _File(Place):
    can_break = False

    async def break_and_mend(self) -> None:
        raise NotImplementedError


class _Server(Place):
    can_break = True

    def __init__(self, server: ValkeyServer) -> None:
        super().__init__(server.url)
        self._server = server

    async def break_and_mend(self) -> None:
        await self._server.kill()
        await self._server.restart()


@asynccontextmanager
async def _sqlite() -> AsyncGenerator[Place]:
    with tempfile.TemporaryDirectory(prefix="catga-kills-") as folder:
        yield _File(f"sqlite:///{Path(folder) / 'app.db'}")


@asynccontextmanager
async def _redis() -> AsyncGenerator[Place]:
    async with ValkeyServer(appendfsync="always") as server:
        yield _Server(server)


PLACES: dict[str, Callable[[], AbstractAsyncContextManager[Place]]] = {"sqlite": _sqlite, "redis": _redis}
