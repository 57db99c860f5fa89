"""A real Valkey (or Redis) server for a test or a demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from catga_testing.servers.binary import find_valkey_server
from catga_testing.servers.blocking import BlockingServer
from catga_testing.servers.ports import LOOPBACK
from catga_testing.servers.server import Server
from catga_testing.servers.valkey_program import ValkeyProgram

if TYPE_CHECKING:
    from collections.abc import Mapping

AppendFsync = Literal["always", "everysec", "no"]


class ValkeyServer(Server):
    """A Valkey server of its own on a free loopback port; it never outlives this process, not even a SIGKILL of it.

    It speaks Redis's protocol. Use `async with ValkeyServer() as server:`, or `with ValkeyServer() as server:` in code without
    an event loop. The methods are for an event loop; `server.blocking` has the same ones for code without.
    """

    def __init__(
        self,
        *,
        appendfsync: AppendFsync | None = "everysec",
        password: str | None = None,
        maxmemory: str | None = None,
        maxmemory_policy: str = "noeviction",
        replica_of: ValkeyServer | None = None,
        cluster: bool = False,
        data_dir: Path | None = None,
        program: Path | None = None,
        extra_config: Mapping[str, str] | None = None,
        start_within: float = 10.0,
    ) -> None:
        """Describe a server; nothing is started yet.

        Args:
            appendfsync: When its append-only file reaches the disk; `None` for a server that keeps nothing.
            password: What clients must show; anybody may connect without it.
            maxmemory: The most memory that it uses, such as `"10mb"`; no limit without it.
            maxmemory_policy: What it does at that limit.
            replica_of: The running server that it copies.
            cluster: Whether it is a node of a cluster; see `ValkeyCluster`.
            data_dir: Where it keeps its data, which then survives `close`. Without it, a directory that is removed.
            program: The executable, such as `find_redis_server()`; `find_valkey_server()` without it.
            extra_config: Further lines of its configuration file; they win over all others.
            start_within: Seconds that a start may take, also a restart.

        """
        settings = {
            "save": "",
            "appendonly": "no" if appendfsync is None else "yes",
            "maxmemory-policy": maxmemory_policy,
            # A primary waits so many seconds for further replicas before it sends its data to the first.
            "repl-diskless-sync-delay": "0",
        }
        if appendfsync is not None:
            settings["appendfsync"] = appendfsync
        if maxmemory is not None:
            settings["maxmemory"] = maxmemory
        if replica_of is not None:
            settings["replicaof"] = f"{LOOPBACK} {replica_of.port}"
            if replica_of.password is not None:
                settings["masterauth"] = replica_of.password
        settings.update(extra_config or {})
        found = program or find_valkey_server()
        described = ValkeyProgram(found, data_dir, settings, password, cluster)
        super().__init__(BlockingServer(described, start_within=start_within))
        self.password: str | None = password

    @property
    def url(self) -> str:
        """What a client connects to, its password included."""
        secret = "" if self.password is None else f":{quote(self.password, safe='')}@"
        return f"redis://{secret}{LOOPBACK}:{self.port}"
