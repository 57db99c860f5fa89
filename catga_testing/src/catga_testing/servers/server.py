"""What a test can do with a real server, whatever program it is."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from catga_testing.servers.blocking import BlockingServer
from catga_testing.servers.offload import offload


class Server:
    """A server process of its own on a free loopback port; it never outlives this process, not even a SIGKILL of it.

    Use `async with` around it, or `with` in code without an event loop. The methods are for an event loop;
    `server.blocking` has the same ones for code without.
    """

    blocking: BlockingServer

    def __init__(self, blocking: BlockingServer) -> None:
        """Wrap a server that is not started yet."""
        self.blocking = blocking

    @property
    def port(self) -> int:
        """The client port; it stays the same, also over a restart, until `close`."""
        return self.blocking.port

    @property
    def pid(self) -> int:
        """The process id; `ServerNotRunningError` when it does not run."""
        return self.blocking.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs (a stopped one counts as running)."""
        return self.blocking.is_running

    @property
    def log(self) -> Path:
        """The file with its log; removed by `close`."""
        return self.blocking.process.log

    async def start(self) -> None:
        """Start the server; when this returns, clients can connect.

        Raises:
            ServerBinaryNotFoundError: The program is not installed.
            ServerStartError: It ended or was not ready in time; the text holds its log.

        """
        await offload(self.blocking.start, undo=self.blocking.close)

    async def kill(self) -> None:
        """Crash the server (SIGKILL); when this returns, its port refuses connections."""
        await offload(self.blocking.kill)

    async def stop(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers, like a partition or a long pause."""
        await offload(self.blocking.stop)

    async def resume(self) -> None:
        """Let a frozen server continue; it then handles what came meanwhile."""
        await offload(self.blocking.resume)

    async def terminate(self, *, within: float = 10.0) -> None:
        """End the server in good order (SIGTERM).

        Args:
            within: Seconds it may take; then it is killed.

        Raises:
            ServerError: It had to be killed.

        """
        await offload(lambda: self.blocking.terminate(within=within))

    async def restart(self) -> None:
        """Start the server again, on the same port and with the same data; one that still runs is terminated first.

        Raises:
            ServerStartError: It ended or was not ready in time; the text holds its log.

        """
        await offload(self.blocking.restart)

    async def close(self) -> None:
        """End the server and remove its directory; closing twice is harmless."""
        await offload(self.blocking.close)

    async def __aenter__(self) -> Self:
        """Start the server."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the server."""
        await self.close()

    def __enter__(self) -> Self:
        """Start the server, blocking."""
        self.blocking.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server, blocking."""
        self.blocking.close()
