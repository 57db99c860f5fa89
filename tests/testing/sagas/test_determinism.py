"""`deterministic_sagas`: what differs each time is refused between the steps of a saga, and nowhere else."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import random
import secrets
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from pathlib import Path
from time import time as imported_time
from typing import Any

import pytest
import structlog

from catga_core import CatgaOptions, Clock, add_catga
from catga_core.sagas import Saga, SagaContext, SagaExecutor, SagaOptions, SagaResult, add_sagas
from catga_testing import DeterminismRules, ManualClock, NonDeterministicSagaError
from catga_testing import deterministic_sagas as refusing

Execute = Callable[[int, SagaContext], Awaitable[str]]


class OfThisModule(Saga[int, str]):
    """Stays, so that the names of this module are always replaced."""

    async def execute(self, data: int, saga: SagaContext) -> str:
        return str(data)


async def run(execute: Execute) -> SagaResult[str]:
    class Given(Saga[int, str]):
        async def execute(self, data: int, saga: SagaContext) -> str:
            return await execute(data, saga)

    catga = add_catga(CatgaOptions(service_name="test"))
    catga.add_singleton(Clock, ManualClock())
    add_sagas(catga, Given, options=SagaOptions(max_attempts=1))
    async with catga.running() as app:
        return await app.get(SagaExecutor).execute("tx-1", 1, Given, timeout=5)


async def nothing() -> None:
    return


def task() -> object:
    return asyncio.create_task(nothing())


def connect() -> None:
    with socket.socket() as opened:
        opened.connect(("127.0.0.1", 1))


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: time.time(), "saga.now()"),
    (lambda: imported_time(), "saga.now()"),
    (lambda: time.monotonic(), "saga.now()"),
    (lambda: time.sleep(0), "saga.sleep"),
    (lambda: datetime.now(), "saga.now()"),  # noqa: DTZ005 - what careless code calls
    (lambda: dt.datetime.now(dt.UTC), "saga.now()"),
    (lambda: datetime.utcnow(), "saga.now()"),  # noqa: DTZ003 - what careless code calls
    (lambda: date.today(), "saga.now()"),  # noqa: DTZ011 - what careless code calls
    (lambda: random.random(), "saga.random()"),
    (lambda: random.choice([1, 2]), "saga.random()"),
    (lambda: random.shuffle([1, 2]), "saga.random()"),
    (lambda: secrets.token_hex(), "saga.random()"),
    (lambda: os.urandom(1), "saga.random()"),
    (lambda: uuid.uuid4(), "saga.uuid()"),
    (lambda: asyncio.sleep(0), "saga.sleep"),
    (task, "saga.gather"),
    (lambda: asyncio.ensure_future(nothing()), "saga.gather"),
    (lambda: asyncio.get_running_loop().create_task(nothing()), "saga.gather"),
    (lambda: asyncio.gather(nothing()), "saga.gather"),
    (lambda: asyncio.to_thread(lambda: None), "saga.gather"),
    (lambda: asyncio.wait_for(nothing(), 1), "timeout="),
    (lambda: asyncio.timeout(1), "timeout="),
    (lambda: open(__file__), "a step"),  # noqa: PTH123, SIM115 - what careless code calls
    (lambda: Path(__file__).read_text(), "a step"),
    (lambda: sqlite3.connect(":memory:"), "a step"),
    (lambda: subprocess.run(["true"], check=True), "a step"),
    (lambda: subprocess.Popen(["true"]), "a step"),
    (connect, "a step"),
]


@pytest.mark.parametrize(("call", "instead"), REFUSED)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore:datetime:DeprecationWarning")
async def test_call_outside_of_a_step_is_refused(call: Callable[[], Any], instead: str) -> None:
    async def execute(data: int, saga: SagaContext) -> str:
        call()
        return "not refused"

    with pytest.raises(NonDeterministicSagaError) as raised, refusing():
        result = await run(execute)
        assert not result.is_success

    assert instead in raised.value.instead
    assert raised.value.called in str(raised.value)


async def allowed(saga: SagaContext) -> None:
    """Call everything within a step, where it is allowed."""

    async def work() -> None:
        time.time()
        datetime.now(dt.UTC)
        random.random()
        uuid.uuid4()
        await asyncio.sleep(0)
        await asyncio.create_task(nothing())
        async with asyncio.timeout(1):
            await nothing()
        with open(__file__) as opened:  # noqa: PTH123 - what is patched
            opened.read(1)

    await saga.step("work", work, timeout=60, compensate=lambda _: work())


async def test_everything_is_allowed_in_steps_and_compensations() -> None:
    async def execute(data: int, saga: SagaContext) -> str:
        await allowed(saga)
        raise LookupError("so that it is compensated")

    with refusing() as rules:
        result = await run(execute)

    assert rules.violations == []
    assert result.steps[0].state.value == "compensated"


async def test_methods_of_the_context_are_allowed(caplog: pytest.LogCaptureFixture) -> None:
    async def branch(saga: SagaContext, name: str) -> str:
        return await saga.step(name, lambda: name)

    async def execute(data: int, saga: SagaContext) -> str:
        saga.now(), saga.random(), saga.uuid()
        saga.progress(0.5)
        logging.getLogger("test").warning("a line of logging")
        structlog.get_logger("test").warning("a line of structlog")
        await saga.on_compensate("undo", lambda: None)
        saga.patched("change")
        await saga.sleep(0)
        first, second = await saga.gather(branch(saga, "a"), branch(saga, "b"))
        await saga.commit_point()
        made = datetime(2030, 1, 1, tzinfo=dt.UTC)
        assert isinstance(made, datetime)
        assert isinstance(saga.now(), datetime)
        assert issubclass(dt.datetime, date)
        return first + second

    with refusing():
        result = await run(execute)

    assert result.value == "ab"
    assert "a line of logging" in caplog.text


async def test_code_of_branches_is_refused() -> None:
    async def branch() -> None:
        random.random()

    async def execute(data: int, saga: SagaContext) -> str:
        await saga.gather(branch(), saga.step("b", lambda: None))
        return ""

    with pytest.raises(NonDeterministicSagaError), refusing():
        await run(execute)


async def test_violation_that_the_code_swallows_is_raised_at_the_end() -> None:
    async def execute(data: int, saga: SagaContext) -> str:
        try:
            random.random()
        except AssertionError:
            return "swallowed"
        return "not refused"

    with pytest.raises(NonDeterministicSagaError), refusing():
        assert (await run(execute)).value == "swallowed"


async def test_fixture_refuses(deterministic_sagas: DeterminismRules) -> None:
    async def execute(data: int, saga: SagaContext) -> str:
        uuid.uuid4()
        return ""

    assert not (await run(execute)).is_success
    assert len(deterministic_sagas.violations) == 1
    # Or the fixture would fail this test.
    deterministic_sagas.violations.clear()


async def test_nothing_is_patched_afterwards() -> None:
    before = [time.time, random.random, uuid.uuid4, asyncio.sleep, datetime, open, SagaContext.step]
    with refusing(), refusing():
        assert time.time is not before[0]
        assert datetime is not before[4]

    after = [time.time, random.random, uuid.uuid4, asyncio.sleep, datetime, open, SagaContext.step]
    assert after == before

    async def execute(data: int, saga: SagaContext) -> str:
        return str(random.random() < 1)

    assert (await run(execute)).value == "True"


async def test_other_code_is_not_refused() -> None:
    with refusing() as rules:
        random.random()
        time.time()
        await asyncio.sleep(0)
        await asyncio.gather(nothing(), nothing())
        assert datetime.now(dt.UTC).year > 2000

    assert rules.violations == []
