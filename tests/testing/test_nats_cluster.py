"""A test's cluster is ready when it says so, and survives what a cluster of three must survive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats
import nats.errors
import pytest
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError

from catga_testing.servers import Link, NatsCluster, ServerStartError
from catga_testing.waiting import eventually

if TYPE_CHECKING:
    from nats.aio.client import Client

pytestmark = [pytest.mark.nats, pytest.mark.cluster]


async def _ignore(_: Exception) -> None:
    """Keep nats-py from logging the errors that these tests cause on purpose."""


async def connect(urls: list[str]) -> Client:
    """Connect to a cluster, patiently."""
    return await nats.connect(urls, reconnect_time_wait=0.05, max_reconnect_attempts=-1, error_cb=_ignore)


async def test_a_ready_cluster_takes_a_replicated_stream_at_once(nats_cluster: NatsCluster) -> None:
    client = await connect(nats_cluster.urls)

    info = await client.jetstream().add_stream(name="orders", subjects=["orders"], num_replicas=3)

    assert info.cluster is not None
    assert len(info.cluster.replicas or []) == 2
    await client.close()


async def test_a_message_crosses_the_routes_of_every_pair() -> None:
    async with NatsCluster(jetstream=False) as cluster:
        clients = [await connect([url]) for url in cluster.urls]
        subscriptions = [await client.subscribe("news") for client in clients]
        await asyncio.gather(*(client.flush() for client in clients))

        async def all_heard() -> bool:
            await clients[0].publish("news", b"x")
            return all([await subscription.next_msg(timeout=0.2) for subscription in subscriptions])

        # An interest travels to the other servers after the flush that made it.
        assert await eventually(all_heard)
        await asyncio.gather(*(client.close() for client in clients))


async def test_it_survives_one_killed_node(nats_cluster: NatsCluster) -> None:
    client = await connect(nats_cluster.urls)
    stream = client.jetstream()
    await stream.add_stream(name="orders", subjects=["orders"], num_replicas=3)
    await stream.publish("orders", b"before")
    leader = await nats_cluster.meta_leader()
    assert leader is not None

    await leader.kill()
    await nats_cluster.ready()

    assert await nats_cluster.meta_leader() not in {leader, None}
    await eventually(lambda: stream.publish("orders", b"after"), within=20)
    assert (await stream.get_msg("orders", 1)).data == b"before"
    await client.close()


async def test_a_restarted_node_comes_back_on_its_port(nats_cluster: NatsCluster) -> None:
    node = nats_cluster.nodes[1]
    url = node.url
    await node.kill()

    await node.restart()
    await nats_cluster.ready()

    assert node.url == url
    client = await connect([url])
    await client.jetstream().add_stream(name="orders", subjects=["orders"], num_replicas=3)
    await client.close()


async def test_a_frozen_node_makes_it_unready_until_it_is_resumed(nats_cluster: NatsCluster) -> None:
    node = nats_cluster.nodes[2]

    await node.stop()
    with pytest.raises(ServerStartError, match=node.name):
        await nats_cluster.ready(within=0.1)
    await node.resume()

    await nats_cluster.ready()


async def test_without_a_majority_nothing_is_stored(nats_cluster: NatsCluster) -> None:
    client = await connect([nats_cluster.nodes[0].url])
    stream = client.jetstream()
    await stream.add_stream(name="orders", subjects=["orders"], num_replicas=3)

    await nats_cluster.nodes[1].kill()
    await nats_cluster.nodes[2].kill()

    with pytest.raises((nats.errors.TimeoutError, ServiceUnavailableError, NoStreamResponseError)):
        await stream.publish("orders", b"lost", timeout=1)
    await client.close()


async def test_clients_are_told_of_the_other_nodes_only_when_it_advertises() -> None:
    for advertise in (True, False):
        async with (
            NatsCluster(jetstream=False, advertise=advertise) as cluster,
            Link(cluster.urls[0]) as link,
        ):
            client = await connect([link.url])

            known = {server.port for server in client.servers} - {link.port}
            await client.close()

            assert bool(known) is advertise


def test_code_without_an_event_loop_can_use_it_too() -> None:
    with NatsCluster(2, jetstream=False) as cluster:
        assert [node.is_running for node in cluster.nodes] == [True, True]
    assert [node.is_running for node in cluster.nodes] == [False, False]
