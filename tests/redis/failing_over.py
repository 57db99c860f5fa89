"""A cluster one of whose nodes has a replica that takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from catga_testing.servers import ValkeyCluster, ValkeyServer
from catga_testing.servers.valkey_program import ask
from catga_testing.waiting import eventually


@asynccontextmanager
async def replicated(cluster: ValkeyCluster, primary: ValkeyServer) -> AsyncIterator[ValkeyServer]:
    """Give a replica of a cluster's node that has all its data; it is promoted when that node does not answer."""
    config = {"cluster-node-timeout": "2000"}
    async with ValkeyServer(cluster=True, extra_config=config) as replica:
        async with Redis.from_url(replica.url) as client, Redis.from_url(primary.url) as other:
            port, bus = primary.blocking.ports
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
            name = (await other.execute_command("CLUSTER", "MYID")).decode()

            async def follows() -> bool:
                with suppress(ResponseError):  # it does not know that node yet
                    await client.execute_command("CLUSTER", "REPLICATE", name)
                return (await client.info("replication")).get("master_link_status") == "up"

            await eventually(follows, within=30.0)
            for node in cluster.nodes:
                # Each has a vote, for a replica that it knows.
                await eventually(lambda node=node: _knows(node, replica), within=30.0)  # type: ignore[misc] # a default keeps it
        yield replica


async def _knows(node: ValkeyServer, replica: ValkeyServer) -> bool:
    nodes = await asyncio.to_thread(ask, node.port, "CLUSTER", "NODES")
    return any(f":{replica.port}@" in line and "slave" in line for line in nodes.splitlines())
