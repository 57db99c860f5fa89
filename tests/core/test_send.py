from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    CatgaResult,
    Command,
    Event,
    Failure,
    Query,
    RequestHandler,
    StreamQuery,
    Success,
    add_catga,
)
from catga_core.errors import HandlerNotFoundError, Outcome
from tests.core.support import Gate


class Add(Command[int]):
    left: int
    right: int


class Forget(Command[None]):
    pass


class Find(Query[str | None]):
    key: str


class Happened(Event):
    pass


class Count(StreamQuery[int]):
    pass


class AddHandler(RequestHandler[Add, int]):
    async def handle(self, message: Add) -> int:
        return message.left + message.right


async def test_the_value_a_handler_returns_is_the_result():
    catga = add_catga()
    catga.add_handlers(AddHandler)

    async with catga.running() as app:
        assert await app.mediator.send(Add(1, 2)) == Success(3)


async def test_the_result_a_handler_returns_is_the_result():
    async def add(message: Add) -> CatgaResult[int]:
        if message.left < 0:
            return CatgaResult.failure(code="NEGATIVE", message="no")
        return Success(message.left + message.right)

    catga = add_catga()
    catga.add_handlers(add)

    async with catga.running() as app:
        good = await app.mediator.send(Add(1, 2))
        bad = await app.mediator.send(Add(-1, 2))

    assert good == Success(3)
    assert (bad.error.code, bad.error.message) == ("NEGATIVE", "no")


async def test_a_result_returned_where_only_a_value_is_declared_is_not_wrapped_again():
    def made_elsewhere() -> Any:
        return Success(3)

    async def add(message: Add) -> int:
        await asyncio.sleep(0)
        return made_elsewhere()  # type: ignore[no-any-return]

    catga = add_catga()
    catga.add_handlers(add)

    async with catga.running() as app:
        assert await app.mediator.send(Add(1, 2)) == Success(3)


async def test_none_is_a_value_like_any_other():
    async def forget(message: Forget) -> None:
        return None

    async def find(message: Find) -> str | None:
        return {"a": "b"}.get(message.key)

    catga = add_catga()
    catga.add_handlers(forget, find)

    async with catga.running() as app:
        assert await app.mediator.send(Forget()) == Success(None)
        assert await app.mediator.send(Find("z")) == Success(None)
        assert await app.mediator.send(Find("a")) == Success("b")


async def test_what_a_handler_raises_is_a_failed_result_and_never_raised():
    async def add(message: Add) -> int:
        raise ValueError("no such numbers")

    catga = add_catga()
    catga.add_handlers(add)

    async with catga.running() as app:
        result = await app.mediator.send(Add(1, 2))

    error = result.error
    assert (error.code, error.retryable, error.details) == (
        "HANDLER_FAILED",
        False,
        {"exception": "ValueError"},
    )
    assert error.message == "add failed: no such numbers"
    assert isinstance(error.__cause__, ValueError)


async def test_a_catga_error_keeps_its_code_its_flag_and_its_details():
    async def add(message: Add) -> int:
        raise CatgaError("sold out", code="SOLD_OUT", retryable=True, details={"left": 0})

    catga = add_catga()
    catga.add_handlers(add)

    async with catga.running() as app:
        error = (await app.mediator.send(Add(1, 2))).error

    assert (error.message, error.code, error.retryable, error.details) == (
        "sold out",
        "SOLD_OUT",
        True,
        {"left": 0},
    )


@pytest.mark.parametrize("options", [{}, {"timeout": 30.0}, {"message_id": "1"}])
async def test_cancelling_the_sender_cancels_the_handler_and_passes_through(options: dict[str, Any]):
    gate = Gate()
    ended: list[str] = []

    async def add(message: Add) -> int:
        try:
            await gate.pass_through()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return 0

    catga = add_catga()
    catga.add_handlers(add)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Add(1, 2), **options))
        await gate.reached()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert ended == ["cancelled"]


@pytest.mark.parametrize("thing", [Happened(), Count(), 1, "add", object(), Add])
async def test_what_is_no_request_is_a_type_error(thing: Any):
    async with add_catga().running() as app:
        with pytest.raises(TypeError):
            await app.mediator.send(thing)
        with pytest.raises(TypeError):
            await app.mediator.send(thing, timeout=1)


async def test_wrong_kind_of_message_raises_a_type_error_with_the_right_call():
    async with add_catga().running() as app:
        with pytest.raises(TypeError, match=r"send\(\) .* Happened, .* publish\(\)"):
            await app.mediator.send(Happened())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"Count, .* stream\(\)"):
            await app.mediator.send(Count())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"got a class"):
            await app.mediator.send(Add)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"timeout": 30.0}])
async def test_without_a_handler_the_answer_is_there_at_once(options: dict[str, Any]):
    async with add_catga(CatgaOptions(service_name="sums")).running() as app:
        error = (await app.mediator.send(Add(1, 2), **options)).error

    assert (error.code, error.retryable) == ("HANDLER_NOT_FOUND", False)
    assert type(error) is HandlerNotFoundError
    assert "Add in sums" in error.message
    assert "add_handlers(...)" in error.message
    assert error.details == {"message": "Add", "version": 1, "outcome": "not_started"}


async def test_each_failure_is_an_error_of_its_own():
    async with add_catga().running() as app:
        first, second = [(await app.mediator.send(Add(1, 2))).error for _ in range(2)]

    assert first is not second


@pytest.mark.parametrize("options", [{}, {"timeout": 30.0}, {"message_id": "1"}])
async def test_after_the_stop_sending_gives_a_failed_result(options: dict[str, Any]):
    catga = add_catga(CatgaOptions(service_name="sums"))
    catga.add_handlers(AddHandler)
    async with catga.running() as app:
        mediator = app.mediator
        await mediator.send(Add(1, 2))

    error = (await mediator.send(Add(1, 2), **options)).error

    assert (error.code, error.outcome) == ("INTERNAL_ERROR", Outcome.NOT_SENT)
    assert "sums has stopped" in error.message


async def test_before_the_start_sending_gives_a_failed_result():
    catga = add_catga(CatgaOptions(service_name="sums"))
    catga.add_handlers(AddHandler)

    error = (await catga.mediator().send(Add(1, 2))).error

    assert (error.code, error.outcome) == ("INTERNAL_ERROR", Outcome.NOT_SENT)
    assert "sums is not running" in error.message


async def test_a_container_that_never_ran_takes_nothing_from_another_ones_handlers_either():
    asleep = add_catga(CatgaOptions(service_name="asleep"))
    asleep.add_handlers(AddHandler)
    other: CatgaMediator = asleep.mediator()

    async def find(message: Find) -> str | None:
        return (await other.send(Add(1, 2))).error.message

    awake = add_catga()
    awake.add_handlers(find)

    async with awake.running() as app:
        said = (await app.mediator.send(Find("a"))).unwrap()

    assert said is not None
    assert "asleep is not running" in said


async def test_a_message_sent_before_the_stop_and_begun_after_it_is_refused():
    catga = add_catga(CatgaOptions(service_name="sums"))
    catga.add_handlers(AddHandler)
    async with catga.running() as app:
        assert await app.mediator.send(Add(1, 2)) == Success(3)
        sent = app.mediator.send(Add(1, 2))

    assert isinstance(await sent, Failure)


async def test_a_subclass_of_a_request_is_another_request_with_its_base_s_handler():
    class Double(Add):
        pass

    catga = add_catga()
    catga.add_handlers(AddHandler)

    async with catga.running() as app:
        assert await app.mediator.send(Double(1, 2)) == Success(3)
    async with add_catga().running() as app:
        error = (await app.mediator.send(Double(1, 2))).error
    assert (error.code, error.details["message"]) == ("HANDLER_NOT_FOUND", "Double")


class Orders:
    class Count(Command[int]):
        pass


class Mail:
    class Count(Command[int]):
        pass


@pytest.mark.parametrize("options", [{}, {"timeout": 5.0}])
async def test_request_whose_namesake_has_the_handler_names_both_classes(options: dict[str, Any]):
    async def count(message: Mail.Count) -> int:
        raise AssertionError

    catga = add_catga()
    catga.add_handlers(count)
    async with catga.running() as app:
        error = (await app.mediator.send(Orders.Count(), **options)).error

    assert error.code == "HANDLER_NOT_FOUND"
    assert re.search(r"for \S+Orders.Count \(test_send.py(:\d+)?\) in app", error.message)
    assert re.search(r"another class of that name, \S+Mail.Count \(test_send.py(:\d+)?\)", error.message)


async def test_a_handler_gets_the_senders_own_object():
    seen: list[Add] = []

    async def add(message: Add) -> int:
        seen.append(message)
        return 0

    catga = add_catga()
    catga.add_handlers(add)
    sent = Add(1, 2)

    async with catga.running() as app:
        await app.mediator.send(sent)

    assert seen[0] is sent


async def test_two_messages_are_handled_at_the_same_time():
    gate = Gate()

    async def add(message: Add) -> int:
        await gate.pass_through()
        return message.left

    catga = add_catga()
    catga.add_handlers(add)

    async with catga.running() as app, asyncio.TaskGroup() as group:
        tasks = [group.create_task(app.mediator.send(Add(number, 0))) for number in range(3)]
        await gate.reached()
        assert gate.arrived == 3
        gate.open()

    assert [task.result() for task in tasks] == [Success(0), Success(1), Success(2)]


async def test_a_message_class_made_in_a_function_is_handled():
    class Local(Command[int]):
        pass

    class LocalHandler(RequestHandler[Local, int]):
        async def handle(self, message: Local) -> int:
            return 1

    catga = add_catga()
    catga.add_handlers(LocalHandler)

    async with catga.running() as app:
        assert await app.mediator.send(Local()) == Success(1)
