"""What each option does that no other file of these tests shows."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.client import Client

from catga_core.clock import SystemClock
from catga_core.errors import ConfigurationError
from catga_core.interfaces import Inbound
from catga_core.messages.results import Success
from catga_core.messages.serialization import json_serializer
from catga_nats import NatsOptions, NatsTransport
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.opening import reopening
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Add, Endpoint, Happened, Slow, Sum, adder, publish, running, send, transport

pytestmark = pytest.mark.nats


async def test_name_is_what_the_server_shows() -> None:
    async with NatsServer(monitoring=True) as server, running(server.url, name="orders-1"):
        with await asyncio.to_thread(urllib.request.urlopen, f"{server.monitor_url}/connz") as page:
            shown = json.load(page)
    assert [connection["name"] for connection in shown["connections"]] == ["orders-1"]


async def test_peers_of_different_prefixes_do_not_hear_each_other(nats_server_shared: NatsServer) -> None:
    url = nats_server_shared.url
    async with running(url, adder(), subject_prefix="blue"), running(url, subject_prefix="green") as sender:
        assert (await send(sender, Add(1, 2))).error.code == "HANDLER_NOT_FOUND"


async def test_without_a_serializer_of_its_own_it_uses_the_one_it_is_given(
    nats_server_shared: NatsServer,
    peer: Client,
) -> None:
    heard = await peer.subscribe("format.event.Happened")
    await peer.flush()
    made = NatsTransport(
        NatsOptions(nats_server_shared.url, subject_prefix="format"), json_serializer(), SystemClock()
    )
    await made.connect()
    await publish(made, Happened(1))
    assert (await heard.next_msg()).data.endswith(b'{"number":1}]')
    async with running(nats_server_shared.url, serializer="msgpack", subject_prefix="format") as other:
        await publish(other, Happened(1))
        assert (await heard.next_msg()).data.endswith(b"\x81\xa6number\x01")
    await made.close()


async def test_envelope_body_travels_without_headers_and_headers_with_them(
    nats_server_shared: NatsServer,
    peer: Client,
) -> None:
    heard = await peer.subscribe("form.event.Happened")
    await peer.flush()
    for form in ("body", "headers"):
        async with running(nats_server_shared.url, envelope=form, subject_prefix="form") as sender:
            await publish(sender, Happened(1))
            headers = (await heard.next_msg()).headers
            assert (headers is None) == (form == "body")
    assert headers is not None
    assert {name for name in headers if name != name.lower()} == set()
    assert headers["catga-name"] == "Happened"


def test_reconnecting_goes_round_the_servers_and_waits_with_jitter_after_each_round() -> None:
    options = NatsOptions("a,b,c", reconnect_wait=3.0, reconnect_jitter=1.0)
    connection = NatsConnection(options, Counters())
    servers = [SimpleNamespace(name=name) for name in "abc"]
    tried = [connection.next_server(servers, {}) for _ in range(30)]
    assert [server.name for server, _ in tried] == list("abc") * 10
    waits = [wait for _, wait in tried]
    assert all(0 <= wait <= 0.1 for wait in waits[:3])
    assert all(3 <= wait <= 4 for wait in waits[3::3])
    assert len({round(wait, 6) for wait in waits}) == 30


def test_new_client_waits_reconnect_wait_and_up_to_the_jitter_more() -> None:
    waits = [
        reopening(NatsOptions("a", reconnect_wait=3.0, reconnect_jitter=1.0)).delay(attempt)
        for attempt in range(1, 201)
    ]
    assert all(3 <= wait <= 4 for wait in waits)
    assert min(waits) < 3.2 < 3.8 < max(waits)
    at_least = reopening(NatsOptions("a", reconnect_wait=0.0, reconnect_jitter=0.0))
    assert at_least.delay(1) == 0.1
    assert at_least.allows(10**6)


async def test_a_service_name_that_cannot_be_a_queue_group_is_refused(nats_server_shared: NatsServer) -> None:
    made = transport(nats_server_shared.url)
    await made.connect()
    for name in ("", "a b", "a..b", "a.*", "größe"):
        with pytest.raises(ConfigurationError, match="service_name"):
            await made.serve(Inbound(name, [adder()], [], 1))
    await made.close()


async def test_nothing_blocks_the_event_loop(nats_server: NatsServer) -> None:
    from blockbuster import blockbuster_ctx

    url = nats_server.url
    with blockbuster_ctx():
        async with running(url, adder(), limit=1000, reconnect_wait=0.05) as both:
            results = await asyncio.gather(*(send(both, Add(number, 1)) for number in range(200)))
            assert all(result.is_success for result in results)
            await nats_server.kill()
            await eventually(lambda: both.health().details["state"] == "reconnecting")
            await nats_server.restart()
            await eventually(lambda: both.health().details["state"] == "connected", within=10)
            assert await send(both, Add(1, 2)) == Success(Sum(3))


async def test_a_deadline_ends_a_request_no_earlier_and_hardly_later(nats_server_shared: NatsServer) -> None:
    async def hang(message: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    async with running(nats_server_shared.url, Endpoint(Slow, hang), subject_prefix="exact") as both:

        async def measured(timeout: float) -> float:
            start = time.monotonic()
            assert (await send(both, Slow(1), timeout=timeout)).error.code == "TIMEOUT"
            return time.monotonic() - start - timeout

        async def slept(timeout: float) -> float:
            start = time.monotonic()
            await asyncio.sleep(timeout)
            return time.monotonic() - start - timeout

        async def beside_a_sleep(timeout: float) -> tuple[float, float]:
            # Whatever else keeps this loop waiting keeps the sleep waiting too.
            late, overslept = await asyncio.gather(measured(timeout), slept(timeout))
            return late, late - overslept

        both_late = await asyncio.gather(*(beside_a_sleep(0.1 + number / 100) for number in range(30)))
        assert min(late for late, _ in both_late) > -0.002
        assert sorted(later for _, later in both_late)[15] < 0.05
        await both.drain(0)
