"""One container, one event loop, one thread: use from any other says so, and hangs nowhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    ConfigurationError,
    Event,
    Failure,
    Query,
    StreamQuery,
    Success,
    add_catga,
)
from catga_core.clock import SystemClock
from catga_core.interfaces import EventLog
from catga_core.interfaces.event_log import StreamAppend
from catga_core.memory.bus import LocalBus
from catga_core.memory.stores import MemoryStorage, memory_stores
from catga_core.memory.transport import LocalTransport
from catga_core.messages import message_type
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.context import begin_context
from catga_core.messages.serialization import msgpack_serializer
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.waiter import Waiter
from catga_testing.contracts.event_loops import in_another_loop
from catga_testing.contracts.stores.records import appends


class Ask(Query[int]):
    n: int


class Happened(Event):
    n: int


async def ask(message: Ask) -> int:
    return message.n


def container(**options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name="s", **options))
    catga.add_handlers(ask)
    return catga


def run_and_close(use: Callable[[], Awaitable[Any]]) -> Any:
    """Run something in a loop that is closed around what is still under way."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(use())
    finally:
        loop.close()


# --- a container ---


def test_container_runs_in_one_loop_after_the_other() -> None:
    catga = container()

    async def once(number: int) -> tuple[int, int]:
        async with catga.running() as app:
            await app.event_store.append("s", Happened(number))
            return (await app.mediator.send(Ask(number))).unwrap(), await app.event_store.version("s")

    assert [asyncio.run(once(number)) for number in range(3)] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("used_before", [True, False])
def test_container_whose_loop_was_closed_refuses_other_loops(used_before: bool) -> None:
    catga = container()
    block = catga.running()

    async def start() -> None:
        app = await block.__aenter__()
        if used_before:
            await app.event_store.append("s", Happened(1))

    run_and_close(start)

    async def use() -> None:
        await catga.event_store().append("s", Happened(2))

    with pytest.raises((CatgaError, ConfigurationError), match="event loop that is closed now"):
        asyncio.run(use())
    # Outside of any event loop, as in a thread that answers a probe.
    found = catga.health()["mediator"]
    assert (found.status, "event loop that is closed now" in found.description) == ("unhealthy", True)


def test_container_whose_loop_was_closed_is_stopped_with_an_error_and_can_be_started() -> None:
    catga = container()
    block = catga.running()
    run_and_close(block.__aenter__)

    async def again() -> int:
        with pytest.raises(CatgaError, match="event loop that is closed now") as caught:
            await block.__aexit__(None, None, None)
        assert caught.value.code == "INTERNAL_ERROR"
        async with catga.running() as app:
            return (await app.mediator.send(Ask(5))).unwrap()

    assert asyncio.run(asyncio.wait_for(again(), 10)) == 5


def test_container_whose_loop_was_closed_can_be_started_without_a_stop() -> None:
    catga = container()
    block = catga.running()
    run_and_close(block.__aenter__)

    async def again() -> int:
        async with catga.running() as app:
            await app.event_store.append("s", Happened(1))
            return (await app.mediator.send(Ask(5))).unwrap()

    with capture_logs() as logs:
        assert asyncio.run(asyncio.wait_for(again(), 10)) == 5
    assert next(line["event"] for line in logs) == "catga.stop_failed"


async def test_container_is_not_stopped_from_another_loop() -> None:
    catga = container()
    block = catga.running()
    app = await block.__aenter__()

    refused = await in_another_loop(lambda: catga._lifecycle.stop())

    assert isinstance(refused, CatgaError)
    assert "another event loop" in refused.message
    assert (await app.mediator.send(Ask(1))).unwrap() == 1
    await block.__aexit__(None, None, None)


async def test_container_that_runs_elsewhere_is_not_started_twice() -> None:
    catga = container()
    async with catga.running():
        refused = await in_another_loop(catga.running().__aenter__)

    assert isinstance(refused, ConfigurationError)


class Numbers(StreamQuery[int]):
    upto: int


async def numbers(query: Numbers) -> AsyncIterator[int]:
    for number in range(query.upto):
        yield number


async def listen(event: Happened) -> None:
    pass


async def first_of(stream: AsyncIterator[int]) -> int:
    return await anext(stream)


USES: dict[str, Callable[[CatgaMediator], Awaitable[Any]]] = {
    "send": lambda mediator: mediator.send(Ask(1)),
    "send with options": lambda mediator: mediator.send(Ask(1), timeout=5),
    "sender": lambda mediator: mediator.sender(Ask)(Ask(1)),
    "send_batch": lambda mediator: mediator.send_batch([Ask(1), Ask(2)]),
    "publish": lambda mediator: mediator.publish(Happened(1)),
    "publish with options": lambda mediator: mediator.publish(Happened(1), message_id="m-1"),
    "publish_batch": lambda mediator: mediator.publish_batch([Happened(1)]),
    "stream": lambda mediator: first_of(mediator.stream(Numbers(3))),
}


def sending() -> CatgaContainer:
    catga = container()
    catga.add_handlers(numbers, listen)
    return catga


def error_of(ended: Any) -> CatgaError:
    found = ended[0] if isinstance(ended, list) else ended
    error = found.error if isinstance(found, Failure) else found
    assert isinstance(error, CatgaError)
    return error


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_first_message_of_a_type_from_another_loop_is_refused(
    use: Callable[[CatgaMediator], Awaitable[Any]],
) -> None:
    async with sending().running() as app:
        error = error_of(await in_another_loop(lambda: use(app.mediator)))
        again = error_of(await in_another_loop(lambda: use(app.mediator)))
        here = await use(app.mediator)

    for each in (error, again):
        assert (each.code, each.retryable) == ("INTERNAL_ERROR", False)
        assert "another event loop" in each.message
    assert here is None or here == 0 or here == Success(1) or here == [Success(1), Success(2)]


@pytest.mark.parametrize("name", ["send with options", "send_batch", "publish with options", "stream"])
async def test_use_from_another_loop_is_refused_also_for_known_types(name: str) -> None:
    async with sending().running() as app:
        await USES[name](app.mediator)

        error = error_of(await in_another_loop(lambda: USES[name](app.mediator)))

    assert "another event loop" in error.message


async def test_message_created_in_another_loop_may_be_sent_in_the_container_s() -> None:
    async with sending().running() as app:
        loop = asyncio.get_running_loop()

        async def send() -> Any:
            return await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(app.mediator.send(Ask(7)), loop)
            )

        sent = asyncio.create_task(in_another_loop(send))

        assert await sent == Success(7)


async def test_service_that_was_not_made_yet_is_not_made_in_another_loop() -> None:
    catga = container()
    async with catga.running():

        async def use() -> object:
            return catga.event_store()

        refused = await in_another_loop(use)

        assert isinstance(refused, ConfigurationError)
        assert catga.event_store() is not None
        # A thread without a loop may look things up.
        assert await asyncio.to_thread(catga.event_store) is catga.event_store()


# --- run() ---


def in_thread(use: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(use())
        except BaseException as error:  # noqa: BLE001  # what the test looks at
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    return found[0]


def test_run_in_a_thread_works_without_signals_until_it_is_cancelled() -> None:
    catga = container()

    async def run() -> int:
        running = asyncio.create_task(catga.run())
        async with asyncio.timeout(10):
            while not catga._lifecycle.started or catga.health()["mediator"].status != "healthy":
                await asyncio.sleep(0)
            value: int = (await catga.mediator().send(Ask(1))).unwrap()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        return value

    with capture_logs() as logs:
        assert in_thread(lambda: asyncio.run(run())) == 1
    assert "catga.signals_ignored" in [line["event"] for line in logs]
    assert not catga._lifecycle.started


# --- the in-memory storage ---


def append(number: int) -> StreamAppend:
    return appends(f"orders-{number}")


async def test_memory_storage_belongs_to_the_loop_of_its_first_start_until_the_last_stop() -> None:
    storage = MemoryStorage()
    await storage.start()
    await storage.start()

    assert isinstance(await in_another_loop(storage.start), CatgaError)
    await storage.stop()
    assert isinstance(await in_another_loop(storage.start), CatgaError)
    await storage.stop()

    assert await in_another_loop(storage.start) is None


def test_memory_storage_whose_loop_was_closed_keeps_what_was_committed() -> None:
    storage = MemoryStorage()
    log = memory_stores(SystemClock(), storage)[EventLog]

    async def write_and_hang() -> None:
        await storage.start()
        await log.append([append(1)])
        asyncio.get_running_loop().create_task(log.wait(after=99, timeout=60)).add_done_callback(print)
        await asyncio.sleep(0)
        block = storage.unit_of_work()
        await block.__aenter__()
        await log.append([append(2)])

    run_and_close(write_and_hang)

    async def use() -> int:
        return await log.version("orders-1")

    with pytest.raises(CatgaError, match="event loop that is closed now"):
        asyncio.run(use())

    async def again() -> list[int]:
        await storage.start()
        async with asyncio.timeout(5):
            await log.append([append(3)])
        return [await log.version(f"orders-{number}") for number in (1, 2, 3)]

    assert asyncio.run(again()) == [1, 0, 1]


# --- the local transport ---


async def test_local_bus_refuses_a_handler_in_another_loop_and_forgets_one_whose_loop_was_closed() -> None:
    bus = LocalBus()
    here = LocalTransport(bus)
    await here.connect()
    there = asyncio.new_event_loop()

    class Endpoint:
        message_type = message_type(Ask)

        async def handle(self, message: Ask, context: object) -> object:
            raise AssertionError

    async def listen() -> None:
        bus.listen_for_request(Endpoint(), 1, BodyCodec(msgpack_serializer()))  # type: ignore[arg-type]

    await asyncio.to_thread(there.run_until_complete, listen())

    async def send() -> str:
        return str((await here.request(Endpoint.message_type, Ask(1), begin_context())).error.code)

    assert await send() == "TRANSPORT_FAILED"
    there.close()
    assert await send() == "HANDLER_NOT_FOUND"


# --- the primitives ---


async def test_home_loop_says_where_it_is() -> None:
    home = HomeLoop()
    assert home.is_here
    assert home.problem() is None

    home.enter()

    assert home.is_here
    assert await asyncio.to_thread(home.problem) is None

    async def problem() -> tuple[bool, str | None]:
        return home.is_here, home.problem()

    is_here, text = await in_another_loop(problem)
    assert not is_here
    assert "another event loop" in str(text)


def test_waiter_wakes_nothing_in_a_loop_that_was_closed() -> None:
    waiter = Waiter()

    async def wait() -> None:
        asyncio.get_running_loop().create_task(waiter.wait()).add_done_callback(print)
        await asyncio.sleep(0)

    run_and_close(wait)

    waiter.wake()
