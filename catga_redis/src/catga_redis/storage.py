"""One Redis, as a place that keeps data."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from redis.asyncio import Redis

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.storage import StorageCapabilities
from catga_core.log import CONNECTION_LOST, CONNECTION_RESTORED, logger
from catga_core.runtime import Worker
from catga_core.runtime.home_loop import LOOP_IS_CLOSED
from catga_core.unit_of_work import UnitOfWorkBlock, joined_unit_of_work
from catga_redis.engine.address import Mode
from catga_redis.engine.clients import node_client, open_lane, patience
from catga_redis.engine.commands import Commands
from catga_redis.engine.failures import other_loop
from catga_redis.engine.lane import Lane
from catga_redis.engine.news import News
from catga_redis.engine.scripts import Scripts, load_scripts
from catga_redis.engine.start_check import check
from catga_redis.options import RedisOptions
from catga_redis.unit_of_work import RedisUnitOfWork

_CHECK_SECONDS = 5.0  # between two checks whether the server answers
_CAPABILITIES = StorageCapabilities(durable=True, shared=True, immediate=False, connection=True)
_QUEUED = ("add_queued", "complete_queued", "discard_queued", "release_key", "cancel_queued")
_SAGAS = ("begin_saga", "release_saga", "cancel_saga", "add_signal")
_TOPICS = {
    "append_in_turn": "e",
    "add": "o",
    **dict.fromkeys(_QUEUED, "q"),
    **dict.fromkeys(_SAGAS, "sg"),
}


class RedisStorage:
    """Keeps data in one Redis, or in one slot of a cluster.

    Args:
        options: Which Redis, and how.
        clock: The container's clock. Where it is the machine's, leases and expiry follow the server's time, so that
            differences between machines do not matter.
    """

    def __init__(self, options: RedisOptions, clock: Clock) -> None:
        self.options: RedisOptions = options
        self.clock: Clock = clock
        # One hash tag, so that a script reaches all of it on a cluster too.
        self.root: str = f"{{{options.prefix}}}:"
        self.clustered: bool = options.address.mode is Mode.CLUSTER
        self.commands: Commands = Commands(
            self.root,
            clock,
            shown=options.address.shown,
            patience=patience(options),
            recover_timeout=options.recover_timeout_seconds,
        )
        self.news: News = News(self._listener, f"{self.root}wake", loop=None, shown=self.commands.shown)
        self._sender: Lane | None = None
        self._facts: Mapping[str, Any] = {}
        self._out = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: Worker | None = None

    @property
    def capabilities(self) -> StorageCapabilities:
        """What this storage can do."""
        return _CAPABILITIES

    async def start(self) -> None:
        """Reach the server, and log what it may lose.

        Raises:
            ConfigurationError: When it refuses the password, or cannot be used with these options.
            PersistenceError: When it cannot be reached.
        """
        scripts = self.commands.scripts = await asyncio.to_thread(_prepare)
        self._facts = await check(self.options, self.root, scripts)
        loop = self._loop = asyncio.get_running_loop()
        self.news = News(self._listener, f"{self.root}wake", loop=loop, shown=self.commands.shown)
        self._sender = open_lane(self.options, self.root)
        self._sender.open()
        self.commands.sender = self._sender
        self.commands.refused = None
        self._out = False
        self._watch = Worker("redis watch", self._check, every=_CHECK_SECONDS, clock=SystemClock())
        self._watch.start()

    async def stop(self) -> None:
        """Wake every waiting task, and release every connection; a second call does nothing.

        Raises:
            PersistenceError: When the event loop in which it was started still runs, and is another one.
        """
        loop = self._loop
        if loop is not None and not loop.is_closed() and loop is not asyncio.get_running_loop():
            raise other_loop(self.commands.shown)
        sender, self._sender = self._sender, None
        watch, self._watch = self._watch, None
        self.commands.sender = None
        self._loop = None
        if loop is None or loop.is_closed():
            # Tasks and connections ended with their loop.
            return
        if watch is not None:
            await watch.stop(cancel=True)
        await self.news.close()
        if sender is not None:
            await sender.close()

    def unit_of_work(self) -> AbstractAsyncContextManager[RedisUnitOfWork]:
        """Return a block whose writes are collected, and done by one script when it is left."""
        return UnitOfWorkBlock(self, lambda: RedisUnitOfWork(self))

    def joined(self) -> RedisUnitOfWork | None:
        """Return the unit of work of this storage that the running task is in, `None` for none."""
        found: RedisUnitOfWork | None = joined_unit_of_work(self)
        return found

    def told(self, operations: Iterable[str]) -> None:
        """Wake who waits in this process for what operations bring."""
        for name in operations:
            topic = _TOPICS.get(name)
            if topic is not None:
                self.news.wake(topic)

    def health(self) -> Health:
        """Return the state as of the last answer, which is a few seconds old at most."""
        shown = self.options.address.shown
        details = {"address": shown, "prefix": self.options.prefix, **self._facts}
        if self.news.trouble is not None:
            details["news"] = f"asked for every second, because they do not come: {self.news.trouble}"
        if self._sender is None:
            return Health(HealthStatus.UNHEALTHY, "not started, or stopped", details)
        if self._loop is not None and self._loop.is_closed():
            return Health(HealthStatus.UNHEALTHY, f"the Redis storage at {shown} {LOOP_IS_CLOSED}", details)
        trouble, refused = self.commands.trouble, self.commands.refused
        if trouble is not None:
            return Health(HealthStatus.UNHEALTHY, f"Redis at {shown} does not answer: {trouble}", details)
        if refused is not None:
            return Health(HealthStatus.DEGRADED, f"Redis at {shown} refuses calls: {refused}", details)
        return Health(HealthStatus.HEALTHY, f"connected to Redis at {shown}", details)

    async def _listener(self) -> Redis:
        return await node_client(self.options, self.root, answer_within=None)

    async def _check(self) -> None:
        """Log an outage once when it is seen, and its end once."""
        with suppress(CatgaError):
            await self._check_rights()
        trouble = self.commands.trouble
        shown = self.options.address.shown
        if trouble is not None and not self._out:
            logger().warning(CONNECTION_LOST, servers=shown, error=trouble)
        elif trouble is None and self._out:
            logger().info(CONNECTION_RESTORED, server=shown)
        self._out = trouble is not None

    async def _check_rights(self) -> None:
        commands = self.commands
        refused = await commands.forbidden()
        if refused is None and commands.refused is not None:
            # Only a write shows that writes are accepted again.
            await commands.run("probe")
        commands.refused = refused


def _prepare() -> Scripts:
    # Reads files, and imports structlog: not on the loop's thread.
    logger()
    return load_scripts()
