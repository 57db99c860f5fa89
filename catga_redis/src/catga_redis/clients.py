"""The clients: one that sends commands, one that waits for news, one that looks whether a server is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from catga_redis.address import Mode
from catga_redis.failures import LostError
from catga_redis.lane import Confirmation, Lane
from catga_redis.options import RedisOptions
from catga_redis.scripts import Script

_NAME = "catga"
# Made once: redis-py would look its own version up on the disk for each connection, on the event loop.
_DRIVER = DriverInfo(lib_version=redis.__version__)


def _once() -> Retry:
    # redis-py would run a command again whose answer was lost, whatever it does.
    return Retry(NoBackoff(), 0)


def _tls(options: RedisOptions) -> dict[str, Any]:
    if not options.address.tls:
        return {}
    return {
        "ssl_ca_certs": options.tls_ca,
        "ssl_certfile": options.tls_cert,
        "ssl_keyfile": options.tls_key or options.tls_cert,
        "ssl_cert_reqs": "required" if options.tls_verify else "none",
        "ssl_check_hostname": options.tls_verify,
    }


def _pool(options: RedisOptions, *, answer_within: float | None) -> ConnectionPool:
    address = options.address
    settings: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "protocol": 3,
        "client_name": _NAME,
        "driver_info": _DRIVER,
        "socket_timeout": answer_within,
        "socket_connect_timeout": options.connect_timeout,
        "socket_keepalive": True,
        "retry": _once(),
        **_tls(options),
    }
    if address.mode is Mode.SENTINEL:
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            list(address.hosts),
            sentinel_kwargs={
                "username": options.sentinel_username,
                "password": options.sentinel_password,
                "socket_timeout": options.connect_timeout,
                "socket_connect_timeout": options.connect_timeout,
                "retry": _once(),
                "driver_info": _DRIVER,
                **({"ssl": True, **_tls(options)} if address.tls else {}),
            },
        )
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]
            address.service, sentinels, ssl=address.tls, **settings
        )
    host, port = address.hosts[0]
    kind = SSLConnection if address.tls else Connection
    return ConnectionPool(connection_class=kind, host=host, port=port, **settings)


def _cluster(options: RedisOptions) -> RedisCluster:
    address = options.address
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
        # One script at a time may wait for a node: a second one would only wait in the server.
        max_connections=options.cluster_connections,
        username=address.username,
        password=address.password,
        protocol=3,
        client_name=_NAME,
        driver_info=_DRIVER,
        socket_timeout=options.command_timeout,
        socket_connect_timeout=options.connect_timeout,
        retry=_once(),
        ssl=address.tls,
        **_tls(options),
    )


def open_lane(options: RedisOptions) -> Lane:
    """Return the commands client of one server; it is to be opened."""
    confirmation = None
    if options.wait_aof or options.wait_replicas:
        confirmation = Confirmation(
            disk=options.wait_aof, replicas=options.wait_replicas, timeout=options.wait_timeout
        )
    return Lane(
        _pool(options, answer_within=None),
        timeout=options.command_timeout,
        connect_timeout=options.connect_timeout,
        batch_size=options.batch_size,
        confirmation=confirmation,
    )


class ClusterSender:
    """The commands client of a cluster: redis-py's own, which finds the node and follows keys that move.

    Parameters:
        options: where the cluster is.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._client = _cluster(options)

    def open(self) -> None:
        """Begin to send; the first command connects."""

    async def close(self) -> None:
        """Release every connection."""
        await self._client.aclose()

    async def command(self, *parts: Any) -> Any:
        """Send a command that reads, and return its answer."""
        try:
            return await self._client.execute_command(*parts)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise LostError(str(error)) from error

    async def script(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script, and return its answer."""
        try:
            return await self.command("EVALSHA", script.sha, 1, key, *arguments)
        except NoScriptError:
            return await self.command("EVAL", script.body, 1, key, *arguments)


async def node_client(options: RedisOptions, root: str, *, answer_within: float | None) -> Redis:
    """Return a client, without any retry, of the one server that has the keys.

    Parameters:
        options: where to look.
        root: what every key begins with.
        answer_within: seconds to wait for an answer, `None` for as long as it takes.

    Raises:
        RedisError: no server of the cluster answers.
    """
    if options.address.mode is not Mode.CLUSTER:
        pool = _pool(options, answer_within=answer_within)
        return Redis.from_pool(pool)
    cluster = await _cluster(options)
    try:
        node = cluster.get_node_from_key(root)
        if node is None:
            msg = "no node of the cluster has these keys"
            raise RedisConnectionError(msg)
        found = node.host, node.port
    finally:
        await cluster.aclose()
    address = options.address
    kind = SSLConnection if address.tls else Connection
    pool = ConnectionPool(
        connection_class=kind,
        host=found[0],
        port=found[1],
        username=address.username,
        password=address.password,
        protocol=3,
        client_name=_NAME,
        socket_timeout=answer_within,
        socket_connect_timeout=options.connect_timeout,
        retry=_once(),
        **_tls(options),
    )
    return Redis.from_pool(pool)
