"""A real nats-server for a test or a demonstration."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from catga_testing.servers.blocking import BlockingServer
from catga_testing.servers.config import NatsSettings, NatsTls
from catga_testing.servers.nats_program import NatsProgram
from catga_testing.servers.ports import LOOPBACK
from catga_testing.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from catga_testing.servers.auth import NatsAuth


class NatsServer(Server):
    """A nats-server of its own on a free loopback port; it never outlives this process, not even a SIGKILL of it.

    Use `async with NatsServer() as server:`, or `with NatsServer() as server:` in code without an event loop. The
    methods are for an event loop; `server.blocking` has the same ones for code without.
    """

    def __init__(
        self,
        *,
        jetstream: bool = False,
        store_dir: Path | None = None,
        sync_interval: str | None = None,
        monitoring: bool = False,
        auth: NatsAuth | None = None,
        tls: NatsTls | None = None,
        max_payload: int | None = None,
        extra_config: Mapping[str, object] | None = None,
        name: str | None = None,
        program: Path | None = None,
        start_within: float = 10.0,
    ) -> None:
        """Describe a server; nothing is started yet.

        Args:
            jetstream: Whether it keeps streams.
            store_dir: Where they are kept; they then survive `close`. Without it, a directory that is removed.
            sync_interval: How often streams are flushed to disk: `"always"` before each acknowledgement, or a duration such
                as `"10s"`; the server's own default (two minutes) without it.
            monitoring: Whether it serves its monitoring pages over HTTP.
            auth: What clients must show; anybody may connect without it.
            tls: Its certificate; connections are plain without it.
            max_payload: The largest message in bytes; the server's own default (1 MiB) without it.
            extra_config: Further top-level entries of its configuration file; they win over all others.
            name: Its name, unique in a cluster; a random one without it.
            program: The nats-server to run, such as one of another version; that of this environment without it.
            start_within: Seconds that a start may take, also a restart.

        """
        self.name: str = name or f"catga-{secrets.token_hex(4)}"
        self._tls = tls

        def settings(directory: Path) -> NatsSettings:
            return NatsSettings(
                name=self.name,
                jetstream=jetstream,
                store_dir=store_dir or directory / "store",
                sync_interval=sync_interval,
                monitoring=monitoring,
                auth=auth,
                tls=tls,
                max_payload=max_payload,
                extra_config=extra_config or {},
            )

        runs = NatsProgram(settings, monitoring=monitoring, keeps_data=store_dir is not None, program=program)
        super().__init__(BlockingServer(runs, start_within=start_within))
        self._monitoring = monitoring

    @property
    def url(self) -> str:
        """What a client connects to; the scheme is `tls` for a server with TLS, else `nats`."""
        return f"{'tls' if self._tls else 'nats'}://{LOOPBACK}:{self.port}"

    @property
    def monitor_url(self) -> str | None:
        """Where its monitoring pages are, or `None` without `monitoring`."""
        port = self.monitor_port
        return None if port is None else f"http://{LOOPBACK}:{port}"

    @property
    def monitor_port(self) -> int | None:
        """The port of its monitoring pages, or `None` without `monitoring`."""
        return self.blocking.ports[1] if self._monitoring else None
