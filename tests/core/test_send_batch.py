from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaMediator,
    Command,
    Event,
    RequestHandler,
    Success,
    add_catga,
)
from catga_testing.waiting import eventually
from tests.core.support import Gate


class Square(Command[int]):
    number: int


class Happened(Event):
    number: int


class HaltError(BaseException):
    """What an iterable should not raise."""


class SquareHandler(RequestHandler[Square, int]):
    async def handle(self, message: Square) -> int:
        # The later ones are done first.
        for _ in range(10 - message.number % 10):
            await asyncio.sleep(0)
        if message.number == 13:
            raise CatgaError("unlucky", code="UNLUCKY")
        return message.number**2


async def test_the_results_come_in_the_order_of_the_requests():
    catga = add_catga()
    catga.add_handlers(SquareHandler)

    async with catga.running() as app:
        results = await app.mediator.send_batch(Square(number) for number in range(10))

    assert results == [Success(number**2) for number in range(10)]


async def test_one_failing_request_fails_alone():
    catga = add_catga()
    catga.add_handlers(SquareHandler)

    async with catga.running() as app:
        results = await app.mediator.send_batch([Square(12), Square(13), Square(14)])

    assert [each.is_success for each in results] == [True, False, True]
    assert results[1].error.code == "UNLUCKY"


async def test_an_empty_batch_has_no_results():
    async with add_catga().running() as app:
        assert await app.mediator.send_batch([]) == []


async def test_no_more_than_so_many_are_under_way():
    gate = Gate()

    async def square(message: Square) -> int:
        await gate.pass_through()
        return 0

    taken: list[int] = []

    def requests() -> Iterator[Square]:
        for number in range(20):
            taken.append(number)
            yield Square(number)

    catga = add_catga()
    catga.add_handlers(square)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send_batch(requests(), max_concurrent=3))
        await eventually(lambda: gate.arrived == 3)
        under_way, taken_by_then = gate.arrived, len(taken)
        gate.open()
        results = await sending

    assert (under_way, taken_by_then, len(results)) == (3, 3, 20)


async def test_a_limit_below_one_is_refused():
    async with add_catga().running() as app:
        with pytest.raises(ValueError, match="max_concurrent must be"):
            await app.mediator.send_batch([Square(1)], max_concurrent=0)


async def test_what_is_no_request_is_the_same_type_error_as_from_send():
    things: list[Any] = [Square(1), Happened(1)]
    catga = add_catga()
    catga.add_handlers(SquareHandler)

    async with catga.running() as app:
        with pytest.raises(TypeError, match="publish"):
            await app.mediator.send_batch(things)


async def test_cancelling_the_batch_cancels_all_of_it():
    gate = Gate()
    ended: list[int] = []

    async def square(message: Square) -> int:
        try:
            await gate.pass_through()
        finally:
            ended.append(message.number)
        return 0

    catga = add_catga()
    catga.add_handlers(square)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send_batch([Square(1), Square(2)]))
        await eventually(lambda: gate.arrived == 2)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert sorted(ended) == [1, 2]


async def test_options_are_for_each_request():
    async def square(message: Square) -> int:
        if message.number:
            await asyncio.Event().wait()
        return 0

    catga = add_catga()
    catga.add_handlers(square)

    async with catga.running() as app:
        results = await app.mediator.send_batch([Square(0), Square(1)], timeout=0.01)

    assert results[0] == Success(0)
    assert results[1].error.code == "TIMEOUT"


async def test_events_of_a_batch_are_published_in_their_order():
    seen: list[int] = []

    async def see(message: Happened) -> None:
        await asyncio.sleep(0)
        seen.append(message.number)

    catga = add_catga()
    catga.add_handlers(see)

    async with catga.running() as app:
        await app.mediator.publish_batch(Happened(number) for number in range(5))

    assert seen == [0, 1, 2, 3, 4]


async def test_a_batch_of_events_that_cannot_be_handed_over_says_how_many_were():
    catga = add_catga()
    events = iter([Happened(1), Happened(2)])

    async with catga.running() as app:
        mediator = app.mediator

    with pytest.raises(CatgaError) as raised:
        await mediator.publish_batch(events)
    assert raised.value.details == {"published": 0, "outcome": "not_sent"}


async def test_batch_starts_no_more_tasks_than_it_has_requests():
    most = 0

    async def square(message: Square) -> int:
        nonlocal most
        await asyncio.sleep(0)
        most = max(most, len(asyncio.all_tasks()))
        return 0

    catga = add_catga()
    catga.add_handlers(square)
    async with catga.running() as app:
        before = len(asyncio.all_tasks())
        await app.mediator.send_batch([Square(number) for number in range(20)], max_concurrent=10**6)

    assert most <= before + 20 + 1


async def test_batch_runs_as_many_at_once_as_it_may():
    gate = Gate()

    async def square(message: Square) -> int:
        await gate.pass_through()
        return 0

    catga = add_catga()
    catga.add_handlers(square)
    async with catga.running() as app:
        sending = asyncio.create_task(
            app.mediator.send_batch([Square(number) for number in range(10)], max_concurrent=4)
        )
        await eventually(lambda: gate.arrived == 4)
        gate.open()
        await sending


class Work(Command[int]):
    how: str


async def work(message: Work) -> int:
    task = asyncio.current_task()
    assert task is not None
    if message.how.startswith("cancel"):
        task.cancel()
    if message.how != "cancel and return":
        await asyncio.sleep(0)
    return 1


class Nested(Command[int]):
    how: str


async def nested_work(message: Nested, mediator: CatgaMediator) -> int:
    await mediator.send(Work(message.how))
    return 2


@pytest.mark.parametrize("limit", [1, 2, 64])
@pytest.mark.parametrize("how", ["cancel", "cancel and return"])
@pytest.mark.parametrize("kind", [Work, Nested])
async def test_handler_that_cancels_its_task_fails_alone_in_a_batch(limit: int, how: str, kind: Any) -> None:
    catga = add_catga()
    catga.add_handlers(work, nested_work)
    requests: list[Any] = [Work("well"), kind(how), kind(how), Work("well"), kind(how), Work("well")]

    async with catga.running() as app:
        async with asyncio.timeout(5):
            results = await app.mediator.send_batch(requests, max_concurrent=limit)
        one = await app.mediator.send_batch([kind(how)], max_concurrent=limit)

    assert [result.is_success for result in results][::3] == [True, True]
    assert results[5] == Success(1)
    ends = [*results[1:3], results[4], *one]
    if how == "cancel":
        assert [end.error.code for end in ends] == ["HANDLER_FAILED"] * 4
    else:
        assert all(end.is_success for end in ends)


async def test_batch_that_is_cancelled_is_cancelled_whatever_its_handlers_do() -> None:
    gate = Gate()
    begun: list[int] = []

    async def square(message: Square) -> int:
        begun.append(message.number)
        try:
            await gate.pass_through()
        except asyncio.CancelledError:
            return 1  # a handler should not
        return 0

    catga = add_catga()
    catga.add_handlers(square, work)

    async with catga.running() as app:
        requests = [Work("cancel"), Square(1), Square(2), Square(3)]
        sending = asyncio.ensure_future(app.mediator.send_batch(requests, max_concurrent=2))
        await eventually(lambda: gate.arrived == 2)
        sending.cancel()
        await asyncio.wait([sending])

    assert sending.cancelled()
    assert begun == [1, 2]


async def test_batch_sent_while_its_sender_is_cancelled_has_every_result() -> None:
    catga = add_catga()
    catga.add_handlers(work)

    async with catga.running() as app:

        async def send_at_the_end() -> list[bool]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                results = await app.mediator.send_batch([Work("cancel"), Work("well")])
                return [result.is_success for result in results]
            return []

        sending = asyncio.ensure_future(send_at_the_end())
        await asyncio.sleep(0)
        sending.cancel()

        assert await asyncio.wait_for(sending, 5) == [False, True]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, HaltError])
@pytest.mark.parametrize("limit", [1, 2, 64])
async def test_what_the_iterable_raises_ends_the_batch(error: type[BaseException], limit: int) -> None:
    async def square(message: Square) -> int:
        await asyncio.sleep(0)
        return 0

    def requests() -> Iterator[Square]:
        yield Square(1)
        yield Square(2)
        raise error

    catga = add_catga()
    catga.add_handlers(square)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send_batch(requests(), max_concurrent=limit))
        await asyncio.wait([sending], timeout=5)
        in_flight = app.health()["mediator"].details["in_flight"]

    assert (sending.done(), in_flight) == (True, 0)
    with pytest.raises(error):
        sending.result()
