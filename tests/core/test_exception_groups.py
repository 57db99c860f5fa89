"""A group of only `CatgaError`s, as `asyncio.TaskGroup` raises it, is the failure that its errors stand for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import (
    CatgaError,
    CatgaOptions,
    Command,
    ConcurrencyError,
    ErrorCode,
    Event,
    StreamQuery,
    add_catga,
)
from catga_core.errors import ConflictError, Outcome, PersistenceError
from catga_core.errors.groups import as_catga_error


class Reserve(Command[int]):
    number: int


class Reserved(Event):
    number: int


class Seats(StreamQuery[int]):
    number: int


async def fail(error: Exception) -> None:
    raise error


async def conflict_in_task_group() -> None:
    async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
        outer.create_task(asyncio.sleep(0))
        inner.create_task(fail(ConcurrencyError("seats-1", 1, 2)))


async def reserve(message: Reserve) -> int:
    await conflict_in_task_group()
    return 1


async def on_reserved(event: Reserved) -> None:
    await conflict_in_task_group()


async def seats(query: Seats) -> AsyncIterator[int]:
    yield 1
    await conflict_in_task_group()


@pytest.mark.parametrize("options", [{}, {"enable_logging": True}, {"enable_outbox": True}])
async def test_conflict_in_a_task_group_is_an_ordinary_failure(options: dict[str, Any]) -> None:
    catga = add_catga(CatgaOptions(**options))
    catga.add_handlers(reserve, on_reserved)

    with capture_logs() as lines:
        async with catga.running() as app:
            error = (await app.mediator.send(Reserve(1))).error
            await app.mediator.publish(Reserved(1))

    assert isinstance(error, ConcurrencyError)
    assert (error.code, error.retryable) == ("CONFLICT", True)
    [failed] = [line for line in lines if line["event"] == "catga.event_handler_failed"]
    assert (failed["log_level"], failed["code"]) == ("warning", "CONFLICT")
    assert [line for line in lines if line["log_level"] == "error" or line.get("stack")] == []


async def test_conflict_in_a_task_group_of_a_stream_keeps_its_code() -> None:
    catga = add_catga()
    catga.add_handlers(seats)

    with capture_logs() as lines:
        async with catga.running() as app:
            with pytest.raises(ConcurrencyError):
                _ = [each async for each in app.mediator.stream(Seats(1))]

    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_group_with_another_exception_is_logged_with_its_traceback() -> None:
    async def handle(message: Reserve) -> int:
        raise ExceptionGroup("several", [ConcurrencyError("seats-1", 1, 2), KeyError("seat")])

    catga = add_catga()
    catga.add_handlers(handle)
    with capture_logs() as lines:
        async with catga.running() as app:
            error = (await app.mediator.send(Reserve(1))).error

    assert (error.code, error.details["exception"]) == ("HANDLER_FAILED", "ExceptionGroup")
    [failed] = [line for line in lines if line["log_level"] == "error"]
    assert "KeyError: 'seat'" in failed["stack"]


NOT_FOUND = CatgaError("no seat", code=ErrorCode.NOT_FOUND, details={"seat": 1})
CONFLICT = ConflictError("another wrote", outcome=Outcome.NOT_WRITTEN)
UNKNOWN = PersistenceError("cut", outcome=Outcome.UNKNOWN)
FAULT = CatgaError("broken", code=ErrorCode.INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("errors", "code", "retryable", "outcome"),
    [
        ([CONFLICT, CONFLICT], "CONFLICT", True, Outcome.NOT_WRITTEN),
        ([CONFLICT, NOT_FOUND], "NOT_FOUND", False, None),
        ([CONFLICT, UNKNOWN], "CONFLICT", True, Outcome.UNKNOWN),
        ([NOT_FOUND, CONFLICT, FAULT], "INTERNAL_ERROR", False, None),
        ([CatgaError("x", code="SOLD_OUT"), NOT_FOUND], "SOLD_OUT", False, None),
    ],
)
def test_group_of_errors_has_the_code_of_the_most_serious(
    errors: list[Exception], code: str, retryable: bool, outcome: Outcome | None
) -> None:
    error = as_catga_error(ExceptionGroup("several", [ExceptionGroup("inner", errors[:1]), *errors[1:]]))

    assert error is not None
    assert (error.code, error.retryable, error.outcome) == (code, retryable, outcome)
    assert f"({len(errors) - 1} more in the same group)" in error.message


@pytest.mark.parametrize("error", [ValueError(), ExceptionGroup("x", [CONFLICT, ValueError()])])
def test_other_exceptions_stand_for_no_catga_error(error: Exception) -> None:
    assert as_catga_error(error) is None
