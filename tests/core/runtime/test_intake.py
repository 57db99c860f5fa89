"""`Intake`: messages run concurrently up to a limit, and are finished or cancelled by the drain."""

from __future__ import annotations

import asyncio
import contextvars

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
