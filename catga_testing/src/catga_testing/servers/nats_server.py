"""A real nats-server for a test or a demonstration."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Self

from catga_testing.servers.blocking import BlockingNatsServer
from catga_testing.servers.config import NatsSettings, NatsTls
from catga_testing.servers.offload import offload
from catga_testing.servers.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from catga_testing.servers.auth import NatsAuth


class NatsServer:
    """A nats-server of its own on a free loopback port; it never outlives this process, not even a SIGKILL of it.

    Use `async with NatsServer() as server:`, or `with NatsServer() as server:` in code without an event loop. The
    methods are for an event loop; `server.blocking` has the same ones for code without.
    """

    def __init__(
        self,
        *,
        jetstream: bool = False,
        store_dir: Path | None = None,
        monitoring: bool = False,
        auth: NatsAuth | None = None,
        tls: NatsTls | None = None,
        max_payload: int | None = None,
        extra_config: Mapping[str, object] | None = None,
        name: str | None = None,
        start_within: float = 10.0,
    ) -> None:
        """Describe a server; nothing is started yet.

        Args:
            jetstream: Whether it keeps streams.
            store_dir: Where they are kept; they then survive `close`. Without it, a directory that is removed.
            monitoring: Whether it serves its monitoring pages over HTTP.
            auth: What clients must show; anybody may connect without it.
            tls: Its certificate; connections are plain without it.
            max_payload: The largest message in bytes; the server's own default (1 MiB) without it.
            extra_config: Further top-level entries of its configuration file; they win over all others.
            name: Its name, unique in a cluster; a random one without it.
            start_within: Seconds that a start may take, also a restart.

        """
        self.name: str = name or f"catga-{secrets.token_hex(4)}"
        self._tls = tls

        def settings(directory: Path) -> NatsSettings:
            return NatsSettings(
                name=self.name,
                jetstream=jetstream,
                store_dir=store_dir or directory / "store",
                monitoring=monitoring,
                auth=auth,
                tls=tls,
                max_payload=max_payload,
                extra_config=extra_config or {},
            )

        self.blocking: BlockingNatsServer = BlockingNatsServer(
            settings, keep_store=store_dir is not None, start_within=start_within
        )

    @property
    def url(self) -> str:
        """What a client connects to; the scheme is `tls` for a server with TLS, else `nats`."""
        return f"{'tls' if self._tls else 'nats'}://{LOOPBACK}:{self.port}"

    @property
    def port(self) -> int:
        """The client port; it stays the same, also over a restart, until `close`."""
        return self.blocking.port

    @property
    def monitor_url(self) -> str | None:
        """Where its monitoring pages are, or `None` without `monitoring`."""
        port = self.blocking.monitor_port
        return None if port is None else f"http://{LOOPBACK}:{port}"

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
            ServerBinaryNotFoundError: No nats-server is installed.
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
        """Start the server again, on the same port and with the same streams; one that still runs is terminated first.

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
