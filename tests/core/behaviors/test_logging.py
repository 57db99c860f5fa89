from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from catga_core import CatgaResult, Command, ErrorCode, Failure, MessageContext, Success, message
from catga_core.errors import CatgaError
from catga_core.messages.context import active_context
from catga_core.pipeline.failures import failure_of
from catga_core.pipeline.logging import LoggingBehavior

SECRET = "4111-1111-1111-1111"
Lines = list[MutableMapping[str, Any]]


@message(name="shop.pay")
class Pay(Command[int]):
    card: str = SECRET


class SteppingClock:
    """Each look at it is a quarter of a second later."""

    def __init__(self) -> None:
        self._time = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time(), UTC)

    def time(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        self._time += 0.25
        return self._time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


@pytest.fixture(autouse=True)
def in_a_message() -> Iterator[None]:
    token = active_context.set(MessageContext("m-2", "c-1", "m-1"))
    yield
    active_context.reset(token)


async def handled(message: Any) -> CatgaResult[int]:
    return Success(1)


def failing(error: CatgaError) -> Any:
    async def fails(message: Any) -> CatgaResult[int]:
        return Failure(error)

    return fails


def broken(code: str) -> CatgaError:
    error = CatgaError("PayHandler failed: no disk", code=code)
    error.__cause__ = OSError("no disk")
    return error


async def run(rest: Any) -> CatgaResult[int]:
    return await LoggingBehavior(SteppingClock()).handle(Pay(), rest)


async def test_a_handled_message_is_one_line_with_its_ids_and_duration(log: Lines):
    assert await run(handled) == Success(1)

    assert log == [
        {
            "event": "catga.message_handled",
            "log_level": "info",
            "message_type": "shop.pay",
            "kind": "command",
            "message_id": "m-2",
            "correlation_id": "c-1",
            "causation_id": "m-1",
            "duration_ms": 250.0,
            "outcome": "handled",
        }
    ]


async def test_the_first_message_of_a_conversation_has_no_causation_id(log: Lines):
    token = active_context.set(MessageContext("m-1", "m-1"))
    try:
        await run(handled)
    finally:
        active_context.reset(token)

    assert "causation_id" not in log[0]


async def test_a_failure_is_a_warning_with_code_and_message(log: Lines):
    result = await run(failing(CatgaError("declined", code="DECLINED")))

    assert result.error.code == "DECLINED"
    assert len(log) == 1
    assert log[0]["event"] == "catga.message_failed"
    assert log[0]["log_level"] == "warning"
    assert (log[0]["outcome"], log[0]["code"], log[0]["error"]) == ("failed", "DECLINED", "declined")
    assert "stack" not in log[0]


@pytest.mark.parametrize("code", [ErrorCode.HANDLER_FAILED, ErrorCode.INTERNAL_ERROR])
async def test_a_fault_of_the_program_is_an_error_with_its_cause(log: Lines, code: str):
    error = broken(code)

    await run(failing(error))

    assert log[0]["log_level"] == "error"
    assert log[0]["code"] == code
    # Text, because structlog renders an exception with its local variables, which hold payloads.
    assert repr(error.__cause__) in log[0]["stack"] or str(error.__cause__) in log[0]["stack"]
    assert "exc_info" not in log[0]


async def test_what_an_inner_behavior_raises_is_logged_and_passes(log: Lines):
    async def raises(message: Any) -> CatgaResult[int]:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        await run(raises)

    assert (log[0]["event"], log[0]["code"]) == ("catga.message_failed", "HANDLER_FAILED")
    assert "OSError: no disk" in log[0]["stack"]


async def test_a_cancelled_message_is_logged_and_stays_cancelled(log: Lines):
    started = asyncio.Event()

    async def waits(message: Any) -> CatgaResult[int]:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    task = asyncio.create_task(run(waits))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(line["event"], line["outcome"]) for line in log] == [("catga.message_cancelled", "cancelled")]


async def test_the_payload_is_in_no_line(log: Lines):
    async def raises(message: Any) -> CatgaResult[int]:
        return failure_of(OSError("no disk"), "PayHandler")

    for rest in (handled, failing(CatgaError("declined", code="DECLINED")), raises):
        await run(rest)

    assert len(log) == 3
    assert SECRET not in repr(log)
    assert "card" not in repr(log)


@pytest.fixture
def levels() -> Iterator[Any]:
    before = structlog.get_config()["wrapper_class"]
    yield lambda level: structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    structlog.configure(wrapper_class=before)


async def test_a_level_that_is_filtered_costs_no_line(
    log: Lines, levels: Any, monkeypatch: pytest.MonkeyPatch
):
    worked: list[str] = []
    facts = LoggingBehavior._facts

    def counted(self: LoggingBehavior, message: Any, began: float) -> dict[str, Any]:
        worked.append("facts")
        return facts(self, message, began)

    monkeypatch.setattr(LoggingBehavior, "_facts", counted)
    levels(logging.WARNING)
    behavior = LoggingBehavior(SteppingClock())

    await behavior.handle(Pay(), handled)
    assert worked == []
    await behavior.handle(Pay(), failing(CatgaError("declined", code="DECLINED")))

    assert worked == ["facts"]
    assert [line["event"] for line in log] == ["catga.message_failed"]


async def test_a_level_that_is_changed_later_counts_at_once(log: Lines, levels: Any):
    behavior = LoggingBehavior(SteppingClock())
    levels(logging.CRITICAL)
    await behavior.handle(Pay(), failing(broken("HANDLER_FAILED")))
    await behavior.handle(Pay(), failing(CatgaError("declined", code="DECLINED")))
    await behavior.handle(Pay(), handled)
    assert log == []

    levels(logging.INFO)
    await behavior.handle(Pay(), handled)

    assert [line["event"] for line in log] == ["catga.message_handled"]
