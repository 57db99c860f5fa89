"""However a handler ends, its caller learns it at once, and as a failed result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from catga_core import (
    Behavior,
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    CatgaResult,
    Command,
    Event,
    StreamQuery,
    add_catga,
    message,
)
from catga_core.pipeline import Next
from catga_core.reliability import idempotent


class HaltError(BaseException):
    """What a handler should not raise."""


async def raises_cancellation() -> None:
    raise asyncio.CancelledError


async def awaits_cancelled_task() -> None:
    task = asyncio.ensure_future(asyncio.sleep(30))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def awaits_cancelled_future() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.cancel)
    await future


async def raises_base_exception() -> None:
    raise HaltError("halt")


async def raises_group() -> None:
    raise BaseExceptionGroup("several", [HaltError()])


async def raises_generator_exit() -> None:
    await asyncio.sleep(0)
    raise GeneratorExit


ENDS = [
    (raises_cancellation, "CancelledError"),
    (awaits_cancelled_task, "CancelledError"),
    (awaits_cancelled_future, "CancelledError"),
    (raises_base_exception, "HaltError"),
    (raises_group, "BaseExceptionGroup"),
    (raises_generator_exit, "GeneratorExit"),
]
ends = pytest.mark.parametrize(("end", "name"), ENDS, ids=[end.__name__ for end, _ in ENDS])


class Do(Command[int]):
    """Ends as `end` does."""

    end: Any  # a function: declared as Any, a message may hold what never leaves its process


@message(context=False)
class DoWithoutContext(Command[int]):
    end: Any  # a function: declared as Any, a message may hold what never leaves its process


@idempotent(key=lambda _: "once")
class DoOnce(Command[int]):
    end: Any  # a function: declared as Any, a message may hold what never leaves its process


class Happened(Event):
    end: Any  # a function: declared as Any, a message may hold what never leaves its process


class Items(StreamQuery[int]):
    end: Any  # a function: declared as Any, a message may hold what never leaves its process


class Session:
    pass


class PassesOn(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(message)


class Ends(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        await message.end()
        return await next(message)


async def do(message: Do) -> int:
    await message.end()
    return 1


async def do_in_scope(message: Do, session: Session) -> int:
    await message.end()
    return 1


def bare() -> CatgaContainer:
    catga = add_catga()
    catga.add_handlers(do)
    return catga


def with_behavior() -> CatgaContainer:
    catga = bare()
    catga.add_behavior(PassesOn)
    return catga


def with_options() -> CatgaContainer:
    catga = add_catga(CatgaOptions(enable_logging=True, timeout_seconds=20, enable_validation=True))
    catga.add_handlers(do)
    return catga


def with_scope() -> CatgaContainer:
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(do_in_scope)
    return catga


def with_behavior_that_ends() -> CatgaContainer:
    async def do_nothing(message: Do) -> int:
        return 1

    catga = add_catga()
    catga.add_handlers(do_nothing)
    catga.add_behavior(Ends)
    return catga


COMPOSITIONS = [bare, with_behavior, with_options, with_scope, with_behavior_that_ends]


@ends
@pytest.mark.parametrize("compose", COMPOSITIONS)
@pytest.mark.parametrize("timeout", [None, 10])
async def test_handler_that_ends_oddly_gives_a_failed_result(
    end: Any, name: str, compose: Callable[[], CatgaContainer], timeout: float | None
) -> None:
    async with compose().running() as app:
        sent = app.mediator.send(Do(end)) if timeout is None else app.mediator.send(Do(end), timeout=timeout)
        error = (await asyncio.wait_for(sent, 5)).error
        again = await app.mediator.send(Do(lambda: asyncio.sleep(0)))

    assert (error.code, error.retryable, error.details["exception"]) == ("HANDLER_FAILED", False, name)
    assert again.is_success


@ends
async def test_nested_send_that_ends_oddly_fails_for_its_sender_only(end: Any, name: str) -> None:
    class Outer(Command[str]):
        pass

    catga = bare()

    async def outer(message: Outer) -> str:
        return str((await mediator.send(Do(end))).error.details["exception"])

    catga.add_handlers(outer)
    async with catga.running() as app:
        mediator = app.mediator
        result = await app.mediator.send(Outer())

    assert result.unwrap() == name


@ends
async def test_message_without_context_that_ends_oddly_gives_a_failed_result(end: Any, name: str) -> None:
    async def do_without(message: DoWithoutContext) -> int:
        await message.end()
        return 1

    catga = add_catga()
    catga.add_handlers(do_without)
    async with catga.running() as app:
        if name == "GeneratorExit":
            # Without a context nothing tells it from a coroutine that is closed.
            with pytest.raises(GeneratorExit):
                await app.mediator.send(DoWithoutContext(end))
            return
        error = (await app.mediator.send(DoWithoutContext(end))).error

    assert (error.code, error.details["exception"]) == ("HANDLER_FAILED", name)


@ends
async def test_idempotent_command_that_ends_oddly_releases_its_claim(end: Any, name: str) -> None:
    ended: list[bool] = []

    async def do_once(message: DoOnce) -> int:
        if not ended:
            ended.append(True)
            await message.end()
        return 1

    catga = add_catga()
    catga.add_handlers(do_once)
    async with catga.running() as app:
        failed = await app.mediator.send(DoOnce(end))
        again = await asyncio.wait_for(app.mediator.send(DoOnce(end)), 5)

    assert failed.error.code == "HANDLER_FAILED"
    assert again.unwrap() == 1


@ends
@pytest.mark.parametrize("handlers", [1, 3])
async def test_event_handler_that_ends_oddly_stops_no_other(end: Any, name: str, handlers: int) -> None:
    handled: list[int] = []

    def handler(number: int) -> Any:
        async def handle(event: Happened) -> None:
            if number == 0:
                await event.end()
            handled.append(number)

        handle.__name__ = f"handle_{number}"
        return handle

    catga = add_catga()
    catga.add_handlers(*map(handler, range(handlers)))
    async with catga.running() as app:
        await asyncio.wait_for(app.mediator.publish(Happened(end)), 5)
        failed = app.health()["mediator"].details["failed_event_handlers"]

    assert (sorted(handled), failed) == (list(range(1, handlers)), 1)


@ends
@pytest.mark.parametrize("first", [True, False])
async def test_stream_that_ends_oddly_raises_the_failure(end: Any, name: str, first: bool) -> None:
    closed: list[type[BaseException] | None] = []

    async def open_session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except BaseException as error:
            closed.append(type(error))
            raise
        closed.append(None)

    async def items(query: Items, session: Session) -> AsyncIterator[int]:
        if not first:
            yield 1
        await query.end()
        yield 2

    catga = add_catga()
    catga.add_scoped(Session, open_session)
    catga.add_handlers(items)
    got: list[int] = []
    async with catga.running() as app:
        with pytest.raises(CatgaError) as failed:
            async for item in app.mediator.stream(Items(end)):
                got.append(item)

    assert (failed.value.code, failed.value.details["exception"]) == ("HANDLER_FAILED", name)
    assert got == ([] if first else [1])
    assert [None if each is None else each.__name__ for each in closed] == [name]


@pytest.mark.parametrize("compose", COMPOSITIONS)
@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
async def test_what_ends_the_program_passes_through(
    end: type[BaseException], compose: Callable[[], CatgaContainer]
) -> None:
    async def ends() -> None:
        raise end

    async with compose().running() as app:
        sending = app.mediator.send(Do(ends))
        with pytest.raises(end):
            await sending


@pytest.mark.parametrize("compose", COMPOSITIONS)
async def test_cancellation_of_the_caller_passes_through(compose: Callable[[], CatgaContainer]) -> None:
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await asyncio.sleep(30)

    async with compose().running() as app:

        async def send() -> None:
            await app.mediator.send(Do(wait))

        task = asyncio.create_task(send())
        await began.wait()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()


async def test_timeout_around_a_send_is_a_timeout() -> None:
    async with bare().running() as app:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await app.mediator.send(Do(lambda: asyncio.sleep(30)))


@pytest.mark.parametrize("compose", COMPOSITIONS)
async def test_sender_that_is_closed_does_not_go_on(compose: Callable[[], CatgaContainer]) -> None:
    """As at the end of a loop with tasks that were never cancelled: closing a coroutine is not an outcome of its message."""
    went_on: list[object] = []
    blocked: list[asyncio.Future[None]] = []

    async def wait() -> None:
        blocked.append(asyncio.get_running_loop().create_future())
        await blocked[-1]

    async with compose().running() as app:

        async def send() -> None:
            went_on.append(await app.mediator.send(Do(wait)))

        coroutine = send()
        task = asyncio.create_task(coroutine)
        while not blocked:
            await asyncio.sleep(0)
        with pytest.raises((ValueError, GeneratorExit)):
            # A context variable cannot be reset from another task's context.
            coroutine.throw(GeneratorExit)
        blocked.clear()
        task.cancel()
        await asyncio.wait([task])
        in_flight = app.health()["mediator"].details["in_flight"]

    assert (went_on, in_flight) == ([], 0)


def running_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("last", [True, False])
async def test_event_handler_in_a_task_of_its_own_may_cancel_that_task(waits: bool, last: bool) -> None:
    """The publisher runs the first handler itself; those after one that waits have tasks of their own."""
    handled: list[str] = []

    async def waiting(event: Happened) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        handled.append("waiting")

    async def cancelling(event: Happened) -> None:
        if waits:
            await asyncio.sleep(0)
        running_task().cancel()
        await asyncio.sleep(30)

    async def other(event: Happened) -> None:
        handled.append("other")

    catga = add_catga()
    catga.add_handlers(waiting, *((other, cancelling) if last else (cancelling, other)))
    async with catga.running() as app:
        await asyncio.wait_for(app.mediator.publish(Happened(None)), 5)
        failed = app.health()["mediator"].details["failed_event_handlers"]

    assert (sorted(handled), failed) == (["other", "waiting"], 1)


async def test_handler_that_cancels_its_task_in_process_cancels_its_sender() -> None:
    """The task is the sender's own."""
    catga = bare()

    async def cancel() -> None:
        running_task().cancel()
        await asyncio.sleep(30)

    async with catga.running() as app:

        async def send() -> None:
            await app.mediator.send(Do(cancel))

        task = asyncio.create_task(send())
        await asyncio.wait([task], timeout=5)

        assert task.cancelled()
