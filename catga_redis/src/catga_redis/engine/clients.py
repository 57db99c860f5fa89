"""The clients: one that sends commands, one that waits for news, one that looks whether a server is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import redis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import MovedError

from catga_redis.engine.address import Mode
from catga_redis.engine.cluster import Node
from catga_redis.engine.confirmation import Confirmation
from catga_redis.engine.lane import Lane
from catga_redis.engine.scripts import Script
from catga_redis.engine.tls import tls_settings
from catga_redis.options import RedisOptions

_NAME = "catga"
# Made once: redis-py would look its own version up on the disk for each connection, on the event loop.
_DRIVER = DriverInfo(lib_version=redis.__version__)


def _once() -> Retry:
    # redis-py would run a command again whose answer was lost, whatever it does.
    return Retry(NoBackoff(), 0)


def _settings(options: RedisOptions, *, answer_within: float | None) -> dict[str, Any]:
    address = options.address
    return {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "protocol": 3,
        "client_name": _NAME,
        "driver_info": _DRIVER,
        "socket_timeout": answer_within,
        "socket_connect_timeout": options.connect_timeout_seconds,
        "socket_keepalive": True,
        "retry": _once(),
        **tls_settings(options),
    }


def _pool(options: RedisOptions, settings: dict[str, Any], place: tuple[str, int]) -> ConnectionPool:
    address = options.address
    if address.mode is not Mode.SENTINEL:
        host, port = place
        return ConnectionPool(connection_class=_kind(options), host=host, port=port, **settings)
    # One that is silent must not use up the time in which another would tell.
    share = options.connect_timeout_seconds / (len(address.hosts) + 1)
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs={
            "username": options.sentinel_username,
            "password": options.sentinel_password,
            "socket_timeout": share,
            "socket_connect_timeout": share,
            "retry": _once(),
            "driver_info": _DRIVER,
            **({"ssl": True, **tls_settings(options)} if address.tls else {}),
        },
    )
    return _SentinelPool(  # type: ignore[no-untyped-call]
        address.service, sentinels, ssl=address.tls, **settings
    )


class _SentinelPool(SentinelConnectionPool):
    # redis-py's leaves the connections to the Sentinels open.
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        # Otherwise another primary was found, and those to the former one are ended.
        if inuse_connections:
            await cast("Sentinel", self.sentinel_manager).aclose()


def _kind(options: RedisOptions) -> type[Connection]:
    return SSLConnection if options.address.tls else Connection


def _node(options: RedisOptions, root: str) -> Node:
    # Looking for the node must end, whatever is waited for later.
    settings = _settings(options, answer_within=options.connect_timeout_seconds)
    within = options.connect_timeout_seconds
    return Node(options.address.hosts, root, _kind(options), settings, within=within)


_HOPS = 5
_WITHIN = 0.95  # of a timeout, so that its caller is told before it is over


class ClusterLane(Lane):
    """A lane to the one node of a cluster that has the keys; it follows them when they move.

    While a slot is moving, some of its keys are on either node, and no script can reach both. The cluster says so (`ASK`,
    `TRYAGAIN`) before it runs anything, and the caller asks again until they have arrived.

    Args:
        node: Finds the node.
        options: As `Lane`'s.
    """

    def __init__(self, node: Node, **options: Any) -> None:
        super().__init__(node, **options)
        self._node = node

    async def command(self, *parts: Any) -> Any:
        """Send a command that reads, and return its answer."""
        for _ in range(_HOPS):
            try:
                return await super().command(*parts)
            except MovedError as error:
                self._follow(error)
        return await super().command(*parts)

    async def script(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script, and return its answer."""
        for _ in range(_HOPS):
            try:
                return await super().script(script, key, arguments)
            except MovedError as error:
                # Nothing was done.
                self._follow(error)
        return await super().script(script, key, arguments)

    def _follow(self, error: MovedError) -> None:
        # Of the callers of one batch, the first takes the others along.
        if self._node.moved(error):
            self.leave()


def patience(options: RedisOptions) -> float:
    """Return the seconds that a call which was not sent waits for a server.

    Where another node may take over, as long as a failover may last; one server that is away is told sooner.

    Args:
        options: Where and how.
    """
    command = options.command_timeout_seconds * _WITHIN
    one = options.address.mode is Mode.SERVER
    return command if one else max(command, options.recover_timeout_seconds)


def open_lane(options: RedisOptions, root: str) -> Lane:
    """Return the commands client; it is to be opened.

    Args:
        options: Where and how.
        root: What every key begins with.
    """
    confirmation = None
    if options.wait_aof or options.wait_replicas:
        confirmation = Confirmation(
            root,
            disk=options.wait_aof,
            replicas=options.wait_replicas,
            timeout=options.wait_timeout_seconds,
        )
    how: dict[str, Any] = {
        "shown": options.address.shown,
        "patience": patience(options),
        "timeout": options.command_timeout_seconds,
        "connect_timeout": options.connect_timeout_seconds,
        "batch_size": options.batch_size,
        "confirmation": confirmation,
    }
    if options.address.mode is Mode.CLUSTER:
        return ClusterLane(_node(options, root), **how)
    # The lane's own time limit is for a whole batch.
    return Lane(_pool(options, _settings(options, answer_within=None), options.address.hosts[0]), **how)


async def node_client(options: RedisOptions, root: str, *, answer_within: float | None) -> Redis:
    """Return a client, without any retry, of the one server that has the keys.

    Args:
        options: Where to look.
        root: What every key begins with.
        answer_within: Seconds to wait for an answer, `None` for as long as it takes.

    Raises:
        RedisError: No server of the cluster answers.
    """
    place = options.address.hosts[0]
    if options.address.mode is Mode.CLUSTER:
        connection = await _node(options, root).get_connection()
        await connection.disconnect()
        place = connection.host, connection.port
    return Redis.from_pool(_pool(options, _settings(options, answer_within=answer_within), place))
