"""A real cluster of nats-servers for a test."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from catga_testing.servers.errors import ServerStartError
from catga_testing.servers.group import ServerGroup
from catga_testing.servers.mesh import leader_of, unready
from catga_testing.servers.nats_server import NatsServer
from catga_testing.servers.offload import offload
from catga_testing.servers.ports import LOOPBACK, ReservedPort
from catga_testing.servers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catga_testing.servers.auth import NatsAuth
    from catga_testing.servers.config import NatsTls


class NatsCluster(ServerGroup):
    """Several nats-servers that know each other; each can be killed, frozen and restarted through `nodes`.

    Use `async with NatsCluster() as cluster:`, or `with NatsCluster() as cluster:` in code without an event loop.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        jetstream: bool = True,
        sync_interval: str | None = None,
        advertise: bool = True,
        auth: NatsAuth | None = None,
        tls: NatsTls | None = None,
        extra_config: Mapping[str, object] | None = None,
        ready_within: float = 30.0,
    ) -> None:
        """Describe a cluster; nothing is started yet.

        Args:
            size: How many servers.
            jetstream: Whether they keep streams together.
            sync_interval: How often streams are flushed to disk, as of `NatsServer`.
            advertise: Whether clients are told of the other servers' addresses; switch it off for clients that
                must stay behind a `Link`.
            auth: What clients must show; anybody may connect without it.
            tls: The certificate of every server, for its clients; routes stay plain.
            extra_config: Further top-level entries of every server's configuration file.
            ready_within: Seconds that the cluster may take to become ready.

        """
        self._jetstream = jetstream
        self._ready_within = ready_within
        self._route_ports = [ReservedPort() for _ in range(size)]
        name = f"catga-{secrets.token_hex(4)}"
        routes = [f"nats://{LOOPBACK}:{port.number}" for port in self._route_ports]

        def node(index: int, route_port: int) -> NatsServer:
            cluster = {
                "name": name,
                "listen": f"{LOOPBACK}:{route_port}",
                "routes": routes,
                "no_advertise": not advertise,
            }
            return NatsServer(
                name=f"{name}-{index}",
                jetstream=jetstream,
                sync_interval=sync_interval,
                monitoring=True,
                auth=auth,
                tls=tls,
                extra_config={"cluster": cluster, **(extra_config or {})},
            )

        self.nodes: tuple[NatsServer, ...] = tuple(
            node(index, port.number) for index, port in enumerate(self._route_ports)
        )

    @property
    def urls(self) -> list[str]:
        """What a client connects to: every server's address."""
        return [node.url for node in self.nodes]

    async def ready(self, *, within: float | None = None) -> None:
        """Wait until the running servers know each other and, with JetStream, agree on a leader that is one of them.

        Servers that were killed are not waited for, frozen ones are.

        Args:
            within: Seconds to wait; `ready_within` without it.

        Raises:
            ServerStartError: It took longer; the text says what was missing.

        """
        await offload(lambda: self._wait_ready(within))

    async def meta_leader(self) -> NatsServer | None:
        """Return the server that leads JetStream, or `None` while there is none."""
        return await offload(lambda: leader_of(self._running()))

    def _come_up(self) -> None:
        for node in self.nodes:
            node.blocking.start()
        self._wait_ready(None)

    def _wait_ready(self, within: float | None) -> None:
        seconds = self._ready_within if within is None else within
        if not wait_until(lambda: not unready(self._running(), jetstream=self._jetstream), within=seconds):
            running = self._running()
            missing = "\n".join(unready(running, jetstream=self._jetstream))
            logs = "\n".join(node.blocking.process.log_tail() for node in running)
            message = f"the cluster is not ready after {seconds} s:\n{missing}\n{logs}"
            raise ServerStartError(message)

    def _running(self) -> list[NatsServer]:
        return [node for node in self.nodes if node.is_running]

    def _close(self) -> None:
        for node in self.nodes:
            node.blocking.close()
        for port in self._route_ports:
            port.close()
