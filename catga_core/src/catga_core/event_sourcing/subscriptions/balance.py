"""Shares the partitions of a subscription between the processes that run it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from catga_core.event_sourcing.consumers import Control, Follower, FollowerPorts, Quota, share_of
from catga_core.event_sourcing.consumers.failures import told
from catga_core.identifiers import new_id
from catga_core.log import PARTITIONS_NOT_SHARED, logger

_MICROSECONDS = 1_000_000
_FORGOTTEN_AFTER = 10  # leases: then the checkpoint of a dead member is removed


class Balance:
    """Tells the others that this process is there, and gives them what is theirs.

    Each process saves a checkpoint of its own now and then, which says that it lives. From those that do follows how many
    partitions are its own; who has more gives some back, who has fewer waits for them.

    Parameters:
        ports: what it uses.
        stem: the beginning of the names of the subscription's checkpoints.
        followers: one for each partition.
        quota: how many of them may hold their place.
        lease: seconds of the clock without a sign of life after which a process is dead.
    """

    def __init__(
        self, ports: FollowerPorts, stem: str, followers: Sequence[Follower], quota: Quota, lease: float
    ) -> None:
        self._ports = ports
        self._stem = f"{stem}:member:"
        self._me = f"{self._stem}{new_id()}"
        self._followers = followers
        self._quota = quota
        self._lease = lease
        self._control = Control()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._run(), name=f"catga balance of {self._stem}")

    async def stop(self) -> None:
        """Leave what is this process's to the others."""
        self._control.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            await self._ports.checkpoints.delete(self._me)
        except Exception as error:  # noqa: BLE001 - the others find out by themselves
            self._failed(error)

    async def look(self) -> None:
        """Say that this process lives, and see how many others do."""
        checkpoints = self._ports.checkpoints
        await checkpoints.save(self._me, 0)
        now = self._ports.clock.time()
        alive: list[str] = []
        for each in await checkpoints.list():
            if not each.name.startswith(self._stem):
                continue
            silent = now - each.updated_at / _MICROSECONDS
            if silent < self._lease:
                alive.append(each.name)
            elif silent > self._lease * _FORGOTTEN_AFTER and each.name != self._me:
                await checkpoints.delete(each.name)
        self._quota.change(share_of(alive, self._me, len(self._followers)))
        surplus = self._quota.surplus
        for follower in self._followers:
            if surplus and follower.progress.name in self._quota.held:
                follower.give_way()
                surplus -= 1

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - each goes on with what it has
                self._failed(error)
            await self._control.pause(self._lease / 3, self._ports.clock)

    def _failed(self, error: Exception) -> None:
        logger().warning(PARTITIONS_NOT_SHARED, subscription=self._stem, error=told(error))
