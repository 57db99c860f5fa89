"""Callers of a server that is away or hangs fail in time, however many they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import Any

import pytest

from catga_core import CatgaError, CatgaOptions, ConfigurationError, add_catga
from catga_core.event_sourcing import add_event_publisher
from catga_core.event_sourcing.subscriptions import Subscriptions
from catga_redis import RedisOptions
from catga_testing.servers import ValkeyServer
from catga_testing.waiting import eventually
from tests.redis.support import Kept, appends, opened

pytestmark = pytest.mark.redis

SLACK = 3.0  # seconds that a busy machine may take beside what the options say


async def fail_all(kept: Kept, callers: int) -> tuple[float, Counter[str]]:
    """Return the seconds until the last caller failed, and how often each outcome occurred."""
    began = monotonic()
    answers = await asyncio.gather(
        *(kept.log.append(appends(f"s-{number}")) for number in range(callers)), return_exceptions=True
    )
    assert all(isinstance(each, CatgaError) for each in answers)
    return monotonic() - began, Counter(
        each.details["outcome"] for each in answers if isinstance(each, CatgaError)
    )


@pytest.mark.parametrize("callers", [1, 3000])
async def test_callers_of_a_hung_server_fail_within_the_timeouts(
    valkey_server: ValkeyServer, callers: int
) -> None:
    times: dict[str, Any] = {
        "connect_timeout_seconds": 0.5,
        "command_timeout_seconds": 0.5,
        "recover_timeout_seconds": 1.0,
    }
    async with opened(valkey_server.url, **times) as kept:
        await kept.log.head()
        await valkey_server.stop()
        took, outcomes = await fail_all(kept, callers)
        await valkey_server.resume()

        # What was sent may be written when the server goes on; what waited for its turn was not sent.
        assert outcomes["unknown"] == min(callers, 256)
        assert took < 0.5 + 1.0 + SLACK
        await eventually(lambda: kept.log.append(appends("after")))


@pytest.mark.parametrize("callers", [1, 1000])
async def test_callers_of_a_server_that_is_down_fail_within_the_command_timeout(
    valkey_server: ValkeyServer, callers: int
) -> None:
    async with opened(valkey_server.url, command_timeout_seconds=0.5, recover_timeout_seconds=30.0) as kept:
        await kept.log.head()
        await valkey_server.kill()
        await asyncio.sleep(0.1)  # the connection has been idle for longer than it is trusted
        took, outcomes = await fail_all(kept, callers)

    assert outcomes == {"not_written": callers}
    assert took < 0.5 + SLACK


async def test_reader_of_a_server_that_is_down_fails_within_the_command_timeout(
    valkey_server: ValkeyServer,
) -> None:
    async with opened(valkey_server.url, command_timeout_seconds=0.5, recover_timeout_seconds=30.0) as kept:
        await valkey_server.kill()
        await asyncio.sleep(0.1)
        began = monotonic()
        with pytest.raises(CatgaError):
            await kept.log.head()

    assert monotonic() - began < 0.5 + SLACK


async def test_calls_one_after_another_fail_as_soon_as_one_when_the_server_is_down(
    valkey_server: ValkeyServer,
) -> None:
    async with opened(valkey_server.url, command_timeout_seconds=6.0) as kept:
        await valkey_server.kill()
        await asyncio.sleep(0.1)
        began = monotonic()
        for number in range(4):
            with pytest.raises(CatgaError) as raised:
                await kept.log.append(appends(f"s-{number}"))
            assert raised.value.details["outcome"] == "not_written"
        assert monotonic() - began < 6.0 + SLACK

        # A call as soon as it is back is answered, however long it was down.
        await valkey_server.restart()
        await kept.log.append(appends("s"))


@pytest.mark.parametrize("hangs", [False, True])
async def test_container_with_many_consumers_stops_in_time_while_the_server_is_down(
    valkey_server: ValkeyServer, *, hangs: bool
) -> None:
    url = f"{valkey_server.url}?command_timeout_seconds=3&connect_timeout_seconds=1&recover_timeout_seconds=3"
    catga = add_catga(CatgaOptions(service_name="stops", store=url))
    for number in range(6):
        add_event_publisher(catga, stream=f"s{number}-*", lease_seconds=30.0)
    async with catga.running() as app:
        await app.get(Subscriptions).caught_up("publisher-s0-all")
        await (valkey_server.stop() if hangs else valkey_server.kill())
        began = monotonic()
    took = monotonic() - began
    if hangs:
        await valkey_server.resume()

    # Each of them releases a lease and ends a membership; only the first waits for the timeouts.
    assert took < 3.0 + (3.0 if hangs else 0.0) + 11 * 0.4 + SLACK


async def test_callers_behind_others_do_not_fail_while_these_are_answered() -> None:
    # Each batch waits for the disk: all of them together take longer than one command may.
    async with (
        ValkeyServer(appendfsync="everysec") as server,
        opened(
            server.url, wait_aof=True, batch_size=20, command_timeout_seconds=1.5, wait_timeout_seconds=10.0
        ) as kept,
    ):
        await asyncio.gather(*(kept.log.append(appends("s")) for _ in range(100)))

        assert await kept.log.version("s") == 100


def test_recovery_longer_than_a_commit_is_remembered_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="recover_timeout_seconds=115"):
        RedisOptions(recover_timeout_seconds=115.0)
    assert RedisOptions(recover_timeout_seconds=100.0).recover_timeout_seconds == 100.0
