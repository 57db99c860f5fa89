"""A real primary with a replica, and the Sentinels that promote it, for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catga_testing.servers.binary import find_valkey_server
from catga_testing.servers.blocking import BlockingServer
from catga_testing.servers.errors import ServerStartError
from catga_testing.servers.group import ServerGroup
from catga_testing.servers.ports import LOOPBACK
from catga_testing.servers.process import wait_until
from catga_testing.servers.server import Server
from catga_testing.servers.valkey_program import ValkeyProgram, ask
from catga_testing.servers.valkey_server import AppendFsync, ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SERVICE = "catga"
_SENTINELS = 3
_QUORUM = 2


class ValkeySentinels(ServerGroup):
    """A primary, its replica and three Sentinels; `kill` or `stop` the `primary`, and the replica is promoted.

    Use `async with ValkeySentinels() as sentinels:`, or `with ValkeySentinels() as sentinels:` in code without an event loop.
    They are ready when the replica has all data and the Sentinels know each other.
    """

    def __init__(
        self,
        *,
        appendfsync: AppendFsync | None = "everysec",
        down_after: float = 0.5,
        program: Path | None = None,
        ready_within: float = 30.0,
    ) -> None:
        """Describe them; nothing is started yet.

        Args:
            appendfsync: When the servers' append-only files reach the disk; `None` for servers that keep nothing.
            down_after: Seconds without an answer after which a Sentinel takes a server to be down.
            program: The executable; `find_valkey_server()` without it.
            ready_within: Seconds that all of it may take to become ready.

        """
        self._appendfsync: AppendFsync | None = appendfsync
        self._down_after = down_after
        self._program = program
        self._ready_within = ready_within
        self.service: str = _SERVICE
        self.primary: ValkeyServer = ValkeyServer(appendfsync=appendfsync, program=program)
        self._replica: ValkeyServer | None = None
        self.sentinels: tuple[Server, ...] = ()

    @property
    def replica(self) -> ValkeyServer:
        """The server that copies the primary.

        Raises:
            RuntimeError: Nothing is started.

        """
        if self._replica is None:
            message = "the servers are not started"
            raise RuntimeError(message)
        return self._replica

    @property
    def url(self) -> str:
        """What a client that asks the Sentinels connects to."""
        places = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{_SERVICE}/0"

    def _come_up(self) -> None:
        self.primary.blocking.start()
        self._replica = ValkeyServer(
            appendfsync=self._appendfsync, program=self._program, replica_of=self.primary
        )
        self._replica.blocking.start()
        # Sentinels look at a replica once in ten seconds, and promote none that they saw without its primary's data.
        self._require(lambda: "state=online" in ask(self.primary.port, "INFO", "replication"))
        self.sentinels = tuple(self._sentinel() for _ in range(_SENTINELS))
        for sentinel in self.sentinels:
            sentinel.blocking.start()
        self._require(lambda: all(map(_is_ready, self.sentinels)))

    def _sentinel(self) -> Server:
        settings = {
            "sentinel monitor": f"{_SERVICE} {LOOPBACK} {self.primary.port} {_QUORUM}",
            "sentinel down-after-milliseconds": f"{_SERVICE} {int(self._down_after * 1000)}",
            # A vote that nobody has won is held again after twice this time.
            "sentinel failover-timeout": f"{_SERVICE} 2000",
        }
        program = ValkeyProgram(
            self._program or find_valkey_server(), None, settings, None, cluster=False, sentinel=True
        )
        return Server(BlockingServer(program, start_within=self._ready_within))

    def _require(self, ready: Callable[[], bool]) -> None:
        if not wait_until(ready, within=self._ready_within):
            states = "\n".join(ask(sentinel.port, "INFO", "sentinel") for sentinel in self.sentinels)
            message = f"the Sentinels and their servers are not ready after {self._ready_within} s:\n{states}"
            raise ServerStartError(message)

    def _close(self) -> None:
        # The Sentinels first: the others' end is nothing to act upon.
        for server in (*self.sentinels, self._replica, self.primary):
            if server is not None:
                server.blocking.close()


def _is_ready(sentinel: Server) -> bool:
    info = ask(sentinel.port, "INFO", "sentinel")
    return "status=ok" in info and f"slaves=1,sentinels={_SENTINELS}" in info
