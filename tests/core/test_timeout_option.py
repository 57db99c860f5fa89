from __future__ import annotations

import asyncio
import re

import pytest

from catga_core import CatgaMediator, Command, MessageContext, Success, add_catga
from catga_core.errors import Outcome


class Wait(Command[int]):
    for_ever: bool = True


class Outer(Command[int]):
    pass


async def wait(message: Wait) -> int:
    if message.for_ever:
        await asyncio.Event().wait()
    return 1


async def test_a_request_that_takes_too_long_fails_with_a_timeout():
    catga = add_catga()
    catga.add_handlers(wait)

    async with catga.running() as app:
        error = (await app.mediator.send(Wait(), timeout=0.01)).error

    assert (error.code, error.retryable) == ("TIMEOUT", True)
    assert error.outcome is Outcome.UNKNOWN
    assert re.search(r"Wait .* 0\.0\d+ s", error.message)


async def test_a_request_that_is_done_in_time_has_its_result():
    catga = add_catga()
    catga.add_handlers(wait)

    async with catga.running() as app:
        assert await app.mediator.send(Wait(for_ever=False), timeout=5) == Success(1)


async def test_a_request_without_any_time_is_not_started():
    started: list[int] = []

    async def note(message: Wait) -> int:
        started.append(1)
        return 1

    catga = add_catga()
    catga.add_handlers(note)

    async with catga.running() as app:
        error = (await app.mediator.send(Wait(), timeout=0)).error

    assert (started, error.code, error.details) == ([], "TIMEOUT", {"outcome": "not_started"})


async def test_a_negative_timeout_is_a_value_error():
    async with add_catga().running() as app:
        with pytest.raises(ValueError, match=r"timeout must be .* got -1"):
            await app.mediator.send(Wait(), timeout=-1)


async def test_no_timeout_is_no_limit():
    catga = add_catga()
    catga.add_handlers(wait)

    async with catga.running() as app:
        assert await app.mediator.send(Wait(for_ever=False), timeout=None) == Success(1)


async def test_a_nested_send_ends_with_the_surrounding_deadline():
    ended: list[str] = []

    async def outer(message: Outer, mediator: CatgaMediator) -> int:
        try:
            return (await mediator.send(Wait())).unwrap()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    catga = add_catga()
    catga.add_handlers(wait, outer)

    async with catga.running() as app:
        error = (await app.mediator.send(Outer(), timeout=0.01)).error

    assert (error.code, ended) == ("TIMEOUT", ["cancelled"])


async def test_a_shorter_nested_timeout_ends_only_the_nested_send():
    async def outer(message: Outer, mediator: CatgaMediator) -> int:
        inner = await mediator.send(Wait(), timeout=0.01)
        return 2 if inner.error.code == "TIMEOUT" else 0

    catga = add_catga()
    catga.add_handlers(wait, outer)

    async with catga.running() as app:
        assert await app.mediator.send(Outer(), timeout=30) == Success(2)


async def test_a_timeout_error_of_the_handlers_own_is_the_handlers_failure():
    async def own(message: Wait) -> int:
        raise TimeoutError("the bank did not answer")

    catga = add_catga()
    catga.add_handlers(own)

    async with catga.running() as app:
        error = (await app.mediator.send(Wait(), timeout=30)).error

    assert (error.code, error.message) == ("HANDLER_FAILED", "own failed: the bank did not answer")


async def test_a_nested_send_after_the_deadline_is_not_started():
    started: list[int] = []

    async def late(message: Wait, context: MessageContext) -> int:
        started.append(1)
        return 1

    async def outer(message: Outer, mediator: CatgaMediator) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # Cleaning up takes its own messages along; they come too late.
            assert (await mediator.send(Wait())).error.code == "TIMEOUT"
            raise
        return 0

    catga = add_catga()
    catga.add_handlers(late, outer)

    async with catga.running() as app:
        error = (await app.mediator.send(Outer(), timeout=0.01)).error

    assert (error.code, started) == ("TIMEOUT", [])
