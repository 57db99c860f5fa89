"""Which node of a cluster has the keys: all of one prefix are in one slot, so there is one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from redis.asyncio import Connection
from redis.exceptions import AskError, AuthenticationError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_HOPS = 5
_MOST_NODES = 12  # that are asked beside those of the URL
_WITHIN = 0.95  # of a timeout, so that the last host is asked before it is over


class Node:
    """Makes connections to the node that has a key, as a pool would.

    redis-py's client of a cluster spreads commands over all nodes, by a connection for each. Here one is wanted.

    Args:
        hosts: Where to begin to look.
        key: The key.
        kind: The class of connections.
        settings: Their settings, but host and port.
        within: Seconds in which all of the hosts are asked. One that is silent must not use up the time of the others.
    """

    def __init__(
        self,
        hosts: Sequence[tuple[str, int]],
        key: str,
        kind: type[Connection],
        settings: Mapping[str, Any],
        *,
        within: float,
    ) -> None:
        self._hosts = hosts
        self._key = key
        self._kind = kind
        self._settings = settings
        self._within = within
        # The nodes that the cluster itself has named last, of which the URL may name only one.
        self._named: list[tuple[str, int]] = []
        self._known: tuple[str, int] | None = None

    def moved(self, error: MovedError) -> bool:
        """Take note of what a node has answered: another one has the key.

        Returns:
            Whether that is new.
        """
        # A node that does not know the other's host leaves it out: it is its own.
        own = self._known[0] if self._known else self._hosts[0][0]
        known, self._known = self._known, _named(error, own)
        return known != self._known

    async def get_connection(self) -> Connection:
        """Return a new connection to the node that has the key.

        Raises:
            RedisError: No node of the cluster answers for it.
        """
        known, self._known = self._known, None
        trouble: Exception = RedisConnectionError("the cluster has no node")
        first = [] if known is None else [known]
        places = list(dict.fromkeys([*first, *self._hosts, *self._named]))
        for place in places:
            try:
                async with asyncio.timeout(self._within * _WITHIN / len(places)):
                    connection = await self._follow(place)
            except AuthenticationError:
                raise
            except (RedisConnectionError, RedisTimeoutError, OSError) as error:
                trouble = error
                continue
            self._known = (connection.host, connection.port)
            return connection
        raise trouble

    async def release(self, connection: Connection) -> None:
        """Be done with a connection."""
        await connection.disconnect(nowait=True)

    async def disconnect(self) -> None:
        """Do nothing: connections are ended by who has them."""

    async def _follow(self, place: tuple[str, int]) -> Connection:
        host, port = place
        for _ in range(_HOPS):
            connection = self._kind(host=host, port=port, **self._settings)
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("EXISTS", self._key)
                await _owned(connection)
                self._named = await _nodes(connection, host) or self._named
            except MovedError as error:
                await connection.disconnect(nowait=True)
                host, port = _named(error, host)
            except BaseException as error:
                await connection.disconnect(nowait=True)
                if isinstance(error, RedisError) and not isinstance(error, RedisConnectionError):
                    raise RedisConnectionError(str(error)) from error
                raise
            else:
                # From here on its user limits the time, of whole batches.
                connection.socket_timeout = None
                return connection
        msg = "the nodes of the cluster send from one to another: they do not agree yet"
        raise RedisConnectionError(msg)


async def _owned(connection: Connection) -> None:
    try:
        await connection.read_response()
    except MovedError:  # which is an AskError to redis-py
        raise
    except AskError:
        # The slot is leaving this node, which has it until it is told otherwise.
        return


async def _nodes(connection: Connection, own: str) -> list[tuple[str, int]]:
    """Return the nodes of the cluster that a node names; none where the user may not ask for them."""
    await connection.send_command("CLUSTER", "SLOTS")
    try:
        slots = cast("list[list[Any]]", await connection.read_response())
    except ResponseError:
        return []
    found: dict[tuple[str, int], None] = {}
    # A range of slots, then each of its nodes: host, port and more. A host that is not known is the asked one's.
    for _, _, *nodes in slots:
        for node in nodes:
            host: bytes = node[0] or own.encode()
            found[host.decode(), int(node[1])] = None
    return list(found)[:_MOST_NODES]


def _named(error: MovedError, own: str) -> tuple[str, int]:
    # redis-py's error has no types.
    host: str = error.host  # pyright: ignore[reportUnknownVariableType]
    return (host or own), int(error.port)  # pyright: ignore[reportUnknownVariableType]
