"""Moves a slot of a cluster from node to node, as an operator's tool does."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot

from catga_testing.servers import ValkeyCluster, ValkeyServer


class Slot:
    """One slot of a cluster, and who has it.

    Args:
        cluster: The cluster.
        key: A key in it.
    """

    def __init__(self, cluster: ValkeyCluster, key: str) -> None:
        self.number = key_slot(key.encode())
        self._nodes = cluster.nodes
        share = 16384 // len(cluster.nodes) + 1
        self.owner: ValkeyServer = cluster.nodes[self.number // share]

    async def begin(self, target: ValkeyServer) -> None:
        """Have both nodes know that the slot is moving; its keys stay where they are."""
        ids = [await self._ask(node, "MYID") for node in (self.owner, target)]
        await self._ask(target, "SETSLOT", self.number, "IMPORTING", ids[0].decode())
        await self._ask(self.owner, "SETSLOT", self.number, "MIGRATING", ids[1].decode())

    async def carry(self, target: ValkeyServer, *, most: int = 10_000) -> int:
        """Move keys; return how many."""
        moved = 0
        async with Redis.from_url(self.owner.url) as client:
            while moved < most:
                command = ("CLUSTER", "GETKEYSINSLOT", self.number, min(10, most - moved))
                keys: list[Any] = await client.execute_command(*command)
                if not keys:
                    break
                place = ("127.0.0.1", target.port, "", 0, 5000)
                await client.execute_command("MIGRATE", *place, "KEYS", *keys)
                moved += len(keys)
        return moved

    async def end(self, target: ValkeyServer) -> None:
        """Have every node know that the slot has moved."""
        id_ = await self._ask(target, "MYID")
        others = [node for node in self._nodes if node not in {target, self.owner}]
        for node in (target, self.owner, *others):
            await self._ask(node, "SETSLOT", self.number, "NODE", id_.decode())
        self.owner = target

    async def move(self, target: ValkeyServer) -> None:
        """Do all of it."""
        await self.begin(target)
        await self.carry(target)
        await self.end(target)

    @staticmethod
    async def _ask(node: ValkeyServer, *command: Any) -> Any:
        async with Redis.from_url(node.url) as client:
            return await client.execute_command("CLUSTER", *command)
