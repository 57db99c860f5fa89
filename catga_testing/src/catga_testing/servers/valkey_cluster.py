"""A real cluster of Valkey servers for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catga_testing.servers.errors import ServerStartError
from catga_testing.servers.group import ServerGroup
from catga_testing.servers.ports import LOOPBACK
from catga_testing.servers.process import wait_until
from catga_testing.servers.valkey_program import ask
from catga_testing.servers.valkey_server import AppendFsync, ValkeyServer

if TYPE_CHECKING:
    from pathlib import Path

_SLOTS = 16384


class ValkeyCluster(ServerGroup):
    """Several Valkey servers that share the keys among them; each can be killed, frozen and restarted through `nodes`.

    Use `async with ValkeyCluster() as cluster:`, or `with ValkeyCluster() as cluster:` in code without an event loop.
    They are ready when they know each other and every slot has an owner.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        appendfsync: AppendFsync | None = "everysec",
        program: Path | None = None,
        ready_within: float = 30.0,
    ) -> None:
        """Describe a cluster of masters; nothing is started yet.

        Args:
            size: How many servers.
            appendfsync: When their append-only files reach the disk; `None` for servers that keep nothing.
            program: The executable; `find_valkey_server()` without it.
            ready_within: Seconds that the cluster may take to become ready.

        """
        self._ready_within = ready_within
        # A node that does not answer is to be noticed within a test's time.
        config = {"cluster-node-timeout": "2000"}
        self.nodes: tuple[ValkeyServer, ...] = tuple(
            ValkeyServer(appendfsync=appendfsync, program=program, cluster=True, extra_config=config)
            for _ in range(size)
        )

    @property
    def urls(self) -> list[str]:
        """Every server's address."""
        return [node.url for node in self.nodes]

    @property
    def url(self) -> str:
        """What a client of the cluster connects to."""
        return "redis+cluster://" + ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes)

    def _come_up(self) -> None:
        for node in self.nodes:
            node.blocking.start()
        self._join()

    def _join(self) -> None:
        size = len(self.nodes)
        first, *others = self.nodes
        for index, node in enumerate(self.nodes):
            low, high = index * _SLOTS // size, (index + 1) * _SLOTS // size - 1
            ask(node.port, "CLUSTER", "ADDSLOTSRANGE", str(low), str(high))
            # Two nodes that take the same epoch would have to settle that first.
            ask(node.port, "CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
        for node in others:
            port, bus = node.blocking.ports
            ask(first.port, "CLUSTER", "MEET", LOOPBACK, str(port), str(bus))
        if not wait_until(lambda: all(map(self._is_ready, self.nodes)), within=self._ready_within):
            states = "\n".join(ask(node.port, "CLUSTER", "INFO") for node in self.nodes)
            message = f"the cluster is not ready after {self._ready_within} s:\n{states}"
            raise ServerStartError(message)

    def _is_ready(self, node: ValkeyServer) -> bool:
        info = ask(node.port, "CLUSTER", "INFO")
        return "cluster_state:ok" in info and f"cluster_known_nodes:{len(self.nodes)}\r\n" in info

    def _close(self) -> None:
        for node in self.nodes:
            node.blocking.close()
