"""`Intake`: messages run concurrently up to a limit, and are finished or cancelled by the drain."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from functools import partial
from typing import Any

from structlog.testing import capture_logs

from catga_core.runtime import Intake
from catga_core.runtime import intake as intake_module


async def test_intake_is_full_at_its_limit() -> None:
    intake, release = Intake(2), asyncio.Event()

    async def work() -> None:
        await release.wait()

    seen = []
    for _ in range(2):
        intake.spawn(work())
        seen.append((intake.running, intake.full))
    release.set()

    assert await intake.drain(5) == 0
    assert seen == [(1, False), (2, True)]
    assert (intake.running, intake.full) == (0, False)


async def test_work_has_an_empty_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="empty")
    seen: list[str] = []

    async def work() -> None:
        seen.append(variable.get())

    variable.set("the caller's")
    intake = Intake(1)
    intake.spawn(work())
    await intake.drain(5)

    assert seen == ["empty"]


async def test_drain_cancels_work_after_the_timeout() -> None:
    intake, cancelled = Intake(1), 0

    async def work() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    intake.spawn(work())

    assert await intake.drain(0.001) == 1
    assert (cancelled, intake.running) == (1, 0)


async def test_drain_leaves_work_behind_that_ignores_its_cancellation() -> None:
    intake, release = Intake(1), asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    intake.spawn(stubborn())
    with capture_logs() as log:
        started = asyncio.get_running_loop().time()
        assert await intake.drain(0) == 1
        took = asyncio.get_running_loop().time() - started
    assert [(line["event"], line["left"]) for line in log] == [("catga.stop_failed", 1)]
    assert took < intake_module._CANCELLED_WITHIN + 1
    release.set()
    await intake.drain(5)
    assert intake.running == 0


async def spawned(intake: Intake, work: list[Coroutine[Any, Any, None]]) -> tuple[int, int]:
    """Take a burst in as a transport does, and return how many were handled and refused."""
    refused = 0

    def refuse() -> None:
        nonlocal refused
        refused += 1

    def deliver(each: Coroutine[Any, Any, None]) -> None:
        if intake.full:
            intake.hold(partial(deliver, each), refuse)
        else:
            intake.spawn(each)

    for each in work:
        deliver(each)
    for _ in range(4 * len(work)):
        await asyncio.sleep(0)
    return len(work) - refused, refused


async def test_a_burst_that_does_not_wait_is_handled_beyond_the_limit():
    handled: list[int] = []

    async def note(number: int) -> None:
        handled.append(number)

    assert await spawned(Intake(2), [note(number) for number in range(20)]) == (20, 0)
    assert sorted(handled) == list(range(20))


async def test_a_burst_that_waits_is_refused_beyond_the_limit():
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    intake, work = Intake(2), [wait() for _ in range(5)]
    try:
        assert await spawned(intake, work) == (2, 3)
        assert intake.running == 2
    finally:
        release.set()
        await intake.drain(1)
        for each in work:
            each.close()
