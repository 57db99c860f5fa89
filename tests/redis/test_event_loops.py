"""A storage belongs to the event loop in which it was started, and can be started again after that loop was closed."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any, cast

import pytest

from catga_core import CatgaError, SystemClock
from catga_core.interfaces import EventLog, LockProvider
from catga_redis import RedisOptions, RedisStorage, redis_stores
from catga_testing.servers import ValkeyServer
from tests.redis.support import appends, opened

pytestmark = pytest.mark.redis


async def in_time(awaited: Any) -> Any:
    async with asyncio.timeout(5.0):
        return await awaited


def refused(awaited: Any) -> CatgaError:
    """Return the error of a use in a new event loop."""
    with pytest.raises(CatgaError) as raised:
        asyncio.run(in_time(awaited))
    assert raised.value.details["outcome"] == "not_written"
    assert not raised.value.retryable
    return raised.value


# The tasks and sockets of a loop that is closed under them end with such warnings.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_storage_whose_loop_was_closed_says_so_and_starts_anew(valkey_server: ValkeyServer) -> None:
    use_after_its_loop_was_closed(valkey_server.url)
    # What was left in that loop ends here, and not in another test.
    gc.collect()


def use_after_its_loop_was_closed(url: str) -> None:
    stores = redis_stores(RedisOptions(url), SystemClock())
    log, locks, storage = stores[EventLog], stores[LockProvider], cast("RedisStorage", stores.storage)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(storage.start())
    loop.run_until_complete(log.append(appends("orders-1")))
    loop.close()

    assert "another event loop" in refused(log.append(appends("orders-1"))).message
    health = storage.health()
    assert (health.status, "event loop that is closed now" in health.description) == ("unhealthy", True)
    # These would wait for news.
    assert "another event loop" in refused(log.wait(after=5, timeout=60.0)).message
    assert "another event loop" in refused(locks.wait("l", timeout=60.0)).message

    async def again() -> int:
        await storage.stop()
        await storage.start()
        try:
            return await log.version("orders-1")
        finally:
            await storage.stop()

    assert asyncio.run(in_time(again())) == 1


async def test_storage_is_used_and_stopped_in_its_own_loop_only(valkey_server: ValkeyServer) -> None:
    async with opened(valkey_server.url) as kept:
        errors: list[CatgaError] = []

        def elsewhere() -> None:
            errors.append(refused(kept.log.append(appends("orders-1"))))
            errors.append(refused(kept.storage.stop()))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)

        assert ["another event loop" in error.message for error in errors] == [True, True]
        assert await kept.log.version("orders-1") == 0
