"""What starts and closes several servers that belong together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from catga_testing.servers.offload import offload


class ServerGroup(ABC):
    """Several servers that come up together or not at all."""

    async def start(self) -> None:
        """Start every server; when this returns, they are ready together.

        Raises:
            ServerBinaryNotFoundError: Their program is not installed.
            ServerStartError: A server did not start, or they were not ready in time.

        """
        await offload(self._start, undo=self._close)

    async def close(self) -> None:
        """End every server and remove their directories; closing twice is harmless."""
        await offload(self._close)

    async def __aenter__(self) -> Self:
        """Start them."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self.close()

    def __enter__(self) -> Self:
        """Start them, blocking."""
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close them, blocking."""
        self._close()

    def _start(self) -> None:
        try:
            self._come_up()
        except BaseException:
            self._close()
            raise

    @abstractmethod
    def _come_up(self) -> None:
        """Start every server and wait until they are ready together, blocking."""

    @abstractmethod
    def _close(self) -> None:
        """End what is started of them, blocking."""
