"""Where lines of log go, and which failures are errors with a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core import (
    CatgaError,
    CatgaOptions,
    CatgaResult,
    Command,
    ErrorCode,
    Event,
    EventHandler,
    RequestHandler,
    ValidationProblem,
    Validator,
    add_catga,
)
from catga_core.errors import ConcurrencyError
from catga_core.event_sourcing.consumers.failures import log_interruption
from catga_core.log import CONSUMER_FAILED
from catga_core.reliability import idempotent

_PROGRAM = """
import asyncio
import structlog
from catga_core import Command, add_catga

class Divide(Command[float]):
    by: float

async def divide(message: Divide) -> float:
    return 1 / message.by

async def main() -> None:
    catga = add_catga()
    catga.add_handlers(divide)
    async with catga.running() as app:
        print((await app.mediator.send(Divide(0))).error.code)

CONFIGURE
asyncio.run(main())
"""


def _run(configure: str = "") -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.replace("CONFIGURE", configure)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )


def test_lines_go_to_stderr_by_default() -> None:
    ran = _run()

    assert ran.stdout == "HANDLER_FAILED\n"
    assert "catga.started" in ran.stderr
    assert "ZeroDivisionError: division by zero" in ran.stderr
    # A pipe is not a terminal.
    assert "\x1b[" not in ran.stderr


def test_lines_go_where_the_application_configures() -> None:
    ran = _run(
        "structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])"
    )

    assert ran.stderr == ""
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["catga.started", "catga.handler_raised", "catga.stopped"]


def test_importing_and_logging_configures_nothing() -> None:
    ran = _run("import atexit; atexit.register(lambda: print(structlog.is_configured()))")

    assert ran.stdout.splitlines() == ["HANDLER_FAILED", "False"]


class Reserve(Command[int]):
    number: int


class Reserved(Event):
    number: int


class Conflicting(RequestHandler[Reserve, int]):
    async def handle(self, message: Reserve) -> int:
        raise ConcurrencyError("stock-1", 1, 2)


class ConflictingListener(EventHandler[Reserved]):
    async def handle(self, message: Reserved) -> None:
        try:
            raise OSError("busy")
        except OSError as cause:
            raise ConcurrencyError("stock-1", 1, 2) from cause


async def answer(event: Reserved) -> CatgaResult[None]:
    return CatgaResult.failure(code=ErrorCode.CONFLICT)


class Broken(EventHandler[Reserved]):
    async def handle(self, message: Reserved) -> None:
        raise KeyError(message.number)


@pytest.mark.parametrize("options", [{}, {"enable_logging": True}, {"enable_outbox": True}])
async def test_conflict_of_a_handler_is_no_error_with_a_traceback(options: dict[str, Any]) -> None:
    catga = add_catga(CatgaOptions(**options))
    catga.add_handlers(Conflicting, ConflictingListener, answer)

    with capture_logs() as lines:
        async with catga.running() as app:
            assert (await app.mediator.send(Reserve(1))).error.code == ErrorCode.CONFLICT
            await app.mediator.publish(Reserved(1))

    failed = [line for line in lines if line["event"] == "catga.event_handler_failed"]
    assert {line["handler"] for line in failed} == {"ConflictingListener", "answer"}
    assert {(line["log_level"], line["code"]) for line in failed} == {("warning", "CONFLICT")}
    assert [line for line in lines if line["log_level"] == "error" or line.get("stack")] == []


async def test_exception_of_an_event_handler_is_an_error_with_its_traceback() -> None:
    catga = add_catga()
    catga.add_handlers(Broken)

    with capture_logs() as lines:
        async with catga.running() as app:
            await app.mediator.publish(Reserved(7))

    [failed] = [line for line in lines if line["event"] == "catga.event_handler_failed"]
    assert (failed["log_level"], failed["code"]) == ("error", "HANDLER_FAILED")
    assert "KeyError: 7" in failed["stack"]


@pytest.mark.parametrize(
    ("error", "level", "has_stack"),
    [
        (ConcurrencyError("s", 1, 2), "warning", False),
        (CatgaError("held", code=ErrorCode.LOCKED), "warning", False),
        (CatgaError("away", code=ErrorCode.PERSISTENCE_FAILED), "error", False),
        (CatgaError("broken", code=ErrorCode.INTERNAL_ERROR), "error", True),
        (ValueError("broken"), "error", True),
    ],
)
def test_interrupted_consumer_is_logged_by_its_cause(error: Exception, level: str, has_stack: bool) -> None:
    with capture_logs() as lines:
        log_interruption(CONSUMER_FAILED["subscription"], error, subscription="totals")

    [line] = lines
    assert (line["event"], line["log_level"]) == ("catga.subscription_failed", level)
    assert (line.get("stack") is not None) is has_stack


class _Order(Command[str]):
    customer: str = "ada"


class _Ordered(Event):
    customer: str = "ada"


class _Broken(Validator[_Order]):
    def validate(self, message: _Order) -> list[ValidationProblem]:
        raise LookupError("no such table")


class _BrokenForEvents(Validator[_Ordered]):
    def validate(self, message: _Ordered) -> list[ValidationProblem]:
        raise LookupError("no such table")


async def _order(message: _Order) -> str:
    raise AssertionError


async def _ordered(message: _Ordered) -> None:
    raise AssertionError


@pytest.mark.parametrize(("kind", "logging"), [("request", False), ("request", True), ("event", False)])
async def test_exception_of_a_validator_is_logged_once_with_its_traceback(kind: str, logging: bool) -> None:
    catga = add_catga(CatgaOptions(enable_logging=logging))
    catga.add_handlers(_order, _ordered)
    catga.add_validator(_Broken)
    catga.add_validator(_BrokenForEvents)
    with capture_logs() as logged:
        async with catga.running() as app:
            if kind == "request":
                assert (await app.mediator.send(_Order())).error.code == ErrorCode.HANDLER_FAILED
            else:
                await app.mediator.publish(_Ordered())

    [line] = [each for each in logged if "LookupError: no such table" in str(each.get("stack"))]
    assert line["log_level"] == "error"


async def test_exception_of_a_key_function_is_logged_with_its_traceback() -> None:
    def key(message: Any) -> str:
        raise LookupError("no such table")

    @idempotent(key=key)
    class Keyed(Command[str]): ...

    async def keyed(message: Keyed) -> str:
        raise AssertionError

    catga = add_catga()
    catga.add_handlers(keyed)
    with capture_logs() as logged:
        async with catga.running() as app:
            result = await app.mediator.send(Keyed())

    assert "no such table" not in result.error.message
    [line] = [each for each in logged if each["event"] == "catga.handler_raised"]
    assert line["handler"] == "the key function of Keyed"
    assert "LookupError: no such table" in line["stack"]
