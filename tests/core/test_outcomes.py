"""Outcomes that are easily lost: slips of a behavior, of an option, of the log, and handlers that cancel themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from catga_core import (
    Behavior,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    MessageContext,
    Next,
    Success,
    add_catga,
)
from catga_core.log import logger


class Do(Command[int]):
    number: int


class Happened(Event):
    number: int


async def double(message: Do) -> int:
    return message.number * 2


class ForgetsReturn(Behavior[Do, int]):
    async def handle(self, message: Do, next: Next[Do, int]) -> CatgaResult[int]:
        await next(message)
        return None  # type: ignore[return-value]


class Session:
    pass


async def test_a_behavior_that_forgets_its_return_fails_the_message():
    catga = add_catga()
    catga.add_handlers(double)
    catga.add_behavior(ForgetsReturn)
    async with catga.running() as app:
        error = (await app.mediator.send(Do(1))).error

    assert error.code == "INTERNAL_ERROR"
    assert "ForgetsReturn returned NoneType instead of a result" in error.message
    assert "return await next(message)" in error.message


async def test_a_behavior_that_forgets_its_return_rolls_back():
    ended: list[str] = []

    async def open_session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except CatgaError:
            ended.append("rolled back")
            raise
        ended.append("committed")

    async def with_session(message: Do, session: Session) -> int:
        return message.number

    catga = add_catga()
    catga.add_scoped(Session, open_session)
    catga.add_handlers(with_session)
    catga.add_behavior(ForgetsReturn)
    async with catga.running() as app:
        result = await app.mediator.send(Do(1))

    assert not result.is_success
    assert ended == ["rolled back"]


class Clerk:
    async def double(self, number: int) -> int:
        return number * 2


class ForgetsAwait:
    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk

    async def handle(self, message: Do):
        return self._clerk.double(message.number)


class ForgetsAwaitOfItsOwn:
    async def handle(self, message: Do) -> int:
        return self.double(message)  # type: ignore[return-value]

    async def double(self, message: Do) -> int:
        return message.number * 2


async def forgets_await_of_a_function(message: Do) -> int:
    return double(message)  # type: ignore[return-value]


class ForgetsAwaitOfASend:
    def __init__(self, mediator: CatgaMediator) -> None:
        self.mediator = mediator

    async def handle(self, message: Do) -> int:
        return self.mediator.send(message)  # type: ignore[return-value]


async def test_a_handler_that_forgets_to_await_a_send_fails_the_message():
    catga = add_catga()
    catga.add_handlers(ForgetsAwaitOfASend)
    with capture_logs():
        async with catga.running() as app:
            error = (await app.mediator.send(Do(1))).error

    assert error.code == "HANDLER_FAILED"
    assert "before it is awaited" in error.message


@pytest.mark.parametrize("surrounded", [False, True])
@pytest.mark.parametrize(
    ("handler", "forgotten"),
    [
        (ForgetsAwait, "Clerk.double"),
        (ForgetsAwaitOfItsOwn, "ForgetsAwaitOfItsOwn.double"),
        (forgets_await_of_a_function, "double"),
    ],
)
async def test_a_handler_that_forgets_an_await_fails_the_message(
    handler: Any, forgotten: str, *, surrounded: bool
):
    catga = add_catga(CatgaOptions(enable_logging=surrounded))
    catga.add_singleton(Clerk)
    catga.add_handlers(handler)
    with capture_logs():
        async with catga.running() as app:
            error = (await app.mediator.send(Do(1))).error

    assert error.code == "HANDLER_FAILED"
    assert (
        f"{handler.__name__} failed: it returned what {forgotten}() gives before it is awaited"
        in error.message
    )
    assert f"write await {forgotten}(...)" in error.message


async def test_a_forgotten_await_of_what_is_written_below_the_handler_is_found_too():
    async def forgets(message: Do) -> int:
        return written_below(message)  # type: ignore[return-value]

    catga = add_catga()
    catga.add_handlers(forgets)  # the name has no value yet

    async def written_below(message: Do) -> int:
        return message.number

    with capture_logs():
        async with catga.running() as app:
            error = (await app.mediator.send(Do(1))).error

    assert "it returned what written_below() gives before it is awaited" in error.message


async def test_an_event_handler_that_forgets_an_await_is_recorded():
    async def tell(event: Happened) -> None:
        pass

    async def forgets(event: Happened):
        return tell(event)

    catga = add_catga()
    catga.add_handlers(forgets)
    with capture_logs() as lines:
        async with catga.running() as app:
            await app.mediator.publish(Happened(1))

    assert any("it returned what tell() gives" in str(line) for line in lines)


async def test_an_unexpected_exception_leaves_its_traceback_in_the_log():
    async def broken(message: Do) -> int:
        raise KeyError("shelf")

    catga = add_catga()
    catga.add_handlers(broken)
    async with catga.running() as app:
        with capture_logs() as lines:
            result = await app.mediator.send(Do(1), message_id="m-1")

    assert result.error.code == "HANDLER_FAILED"
    assert [(line["event"], line["handler"], line["message_id"]) for line in lines] == [
        ("catga.handler_raised", "broken", "m-1")
    ]
    assert "KeyError: 'shelf'" in lines[0]["stack"]


async def test_a_decided_failure_is_no_fault_and_leaves_no_line():
    async def declines(message: Do) -> int:
        raise CatgaError("declined", code="DECLINED")

    catga = add_catga()
    catga.add_handlers(declines)
    async with catga.running() as app:
        with capture_logs() as lines:
            await app.mediator.send(Do(1))

    assert lines == []


@pytest.mark.parametrize("logged", [True, False])
async def test_a_failed_commit_is_in_the_log(logged: bool):
    def open_session() -> Iterator[Session]:
        yield Session()
        raise OSError("disk full")

    async def with_session(message: Do, session: Session) -> int:
        return message.number

    catga = add_catga(CatgaOptions(enable_logging=logged))
    catga.add_scoped(Session, open_session)
    catga.add_handlers(with_session)
    async with catga.running() as app:
        with capture_logs() as lines:
            result = await app.mediator.send(Do(1))

    assert not result.is_success
    raised = [line for line in lines if line["event"] == "catga.handler_raised"]
    assert len(raised) == 1
    assert "OSError: disk full" in raised[0]["stack"]


async def test_an_exception_without_a_text_of_its_own_is_a_failed_result():
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def broken(message: Do) -> int:
        raise Mute

    catga = add_catga()
    catga.add_handlers(broken)
    async with catga.running() as app:
        error = (await app.mediator.send(Do(1))).error

    assert error.code == "HANDLER_FAILED"
    assert "Mute" in error.message


@pytest.mark.parametrize(
    ("options", "expected", "text"),
    [
        (
            {"time_out": 1},
            TypeError,
            r"send\(\).*'time_out'.*message_id",
        ),
        ({"timeout": "2"}, TypeError, "number of seconds"),
        ({"timeout": float("inf")}, ValueError, "timeout must be .* got inf"),
        ({"timeout": float("nan")}, ValueError, "timeout must be .* got nan"),
        ({"message_id": 7}, TypeError, "message_id must be .* got 7"),
        ({"message_id": ""}, TypeError, "message_id must be .* got ''"),
        (
            {"headers": {"a": 1}},
            TypeError,
            r"header 'a'.*a int.*names and values",
        ),
        ({"headers": ["a"]}, TypeError, r"headers.*a mapping of.*a list"),
    ],
)
async def test_an_option_that_would_be_ignored_or_fail_far_away_is_refused(
    options: dict[str, Any], expected: type[Exception], text: str
):
    catga = add_catga()
    catga.add_handlers(double)
    async with catga.running() as app:
        with pytest.raises(expected, match=text):
            await app.mediator.send(Do(1), **options)


async def test_an_event_takes_no_timeout():
    async with add_catga().running() as app:
        with pytest.raises(TypeError, match=r"publish\(\).*'timeout'.*message_id"):
            await app.mediator.publish(Happened(1), timeout=1)  # type: ignore[call-arg]


async def test_a_batch_takes_no_message_id():
    async with add_catga().running() as app:
        with pytest.raises(TypeError, match=r"send_batch\(\).*'message_id'"):
            await app.mediator.send_batch([Do(1)], message_id="same")


async def test_headers_cannot_be_changed_by_anyone_after_the_message_was_sent():
    seen: list[MessageContext] = []
    given = {"a": "1"}

    async def keeps(message: Do, context: MessageContext) -> int:
        given["a"] = "2"
        seen.append(context)
        return 1

    catga = add_catga()
    catga.add_handlers(keeps)
    async with catga.running() as app:
        await app.mediator.send(Do(1), headers=given)
        await app.mediator.send(Do(2))

    assert seen[0].headers == {"a": "1"}
    for context in seen:
        with pytest.raises(TypeError):
            context.headers["poison"] = "yes"  # type: ignore[index]


@pytest.mark.parametrize("waits", [True, False])
async def test_an_event_handler_that_cancels_itself_stops_no_other_and_is_recorded(waits: bool):
    done: list[int] = []

    async def cancels(event: Happened) -> None:
        if waits:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def works(event: Happened) -> None:
        if waits:
            await asyncio.sleep(0)
        done.append(event.number)

    catga = add_catga()
    catga.add_handlers(cancels, works)
    async with catga.running() as app:
        await app.mediator.publish(Happened(1))
        failed = app.health()["mediator"].details["failed_event_handlers"]

    assert (done, failed) == ([1], 1)


@pytest.mark.parametrize("at_once", [1, 4])
async def test_a_batch_gives_a_result_for_each_request_also_where_a_handler_cancels_itself(at_once: int):
    async def cancels(message: Do) -> int:
        if message.number == 1:
            raise asyncio.CancelledError
        return message.number

    catga = add_catga()
    catga.add_handlers(cancels)
    async with catga.running() as app:
        results = await app.mediator.send_batch([Do(number) for number in range(4)], max_concurrent=at_once)

    assert [result.is_success for result in results] == [True, False, True, True]
    assert results[1].error.code == "HANDLER_FAILED"


@pytest.fixture
def broken_log() -> Iterator[None]:
    def broken(*_: Any) -> Any:
        raise BrokenPipeError("log pipe is gone")

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[broken])
    yield
    structlog.configure(processors=before)


@pytest.mark.usefixtures("broken_log")
async def test_a_log_that_cannot_be_written_changes_no_outcome():
    done: list[int] = []

    async def fails(event: Happened) -> None:
        raise ValueError("no")

    async def works(event: Happened) -> None:
        done.append(event.number)

    catga = add_catga(CatgaOptions(enable_logging=True))
    catga.add_handlers(double, fails, works)
    async with catga.running() as app:
        result = await app.mediator.send(Do(2))
        await app.mediator.publish(Happened(1))

    assert result == Success(4)
    assert done == [1]
    assert logger().lost > 0


@pytest.mark.parametrize(
    "url", ["nats://user:s3cret@host:4222", "nats://user:s3/cr,et@host:4222,user:s3cret@other:4222"]
)
def test_a_password_in_a_url_is_in_no_text_of_the_options(url: str):
    assert "s3" not in repr(CatgaOptions(transport=url, store=url))
    assert "***@" in repr(CatgaOptions(transport=url))


def test_a_password_in_what_is_no_url_is_not_in_the_error():
    with pytest.raises(ConfigurationError, match="URL") as raised:
        add_catga(CatgaOptions(transport="user:s3cret@host:4222"))

    assert "s3cret" not in str(raised.value)
