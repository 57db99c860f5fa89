"""The processes of a run: started, killed, stopped for a while, and ended; when each stood still is written down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

_ROOT = Path(__file__).parents[3]
_ENDS_WITHIN = 60.0


class Pause(msgspec.Struct, frozen=True):
    """When a process stood still, by the monotonic clock.

    Args:
        pid: The process.
        began: From when on.
        ended: Until when.
    """

    pid: str
    began: float
    ended: float


class Process:
    """One place in the run; another process takes it after each kill.

    Args:
        name: Its name.
        module: The module that is run.
        arguments: What the module is given; the log is added.
        folder: Where its files are.
    """

    def __init__(self, name: str, module: str, role: str, arguments: tuple[str, ...], folder: Path) -> None:
        self.name: str = name
        self.log: Path = folder / f"{name}.jsonl"
        self.pauses: list[Pause] = []
        self._errors = folder / f"{name}.err"
        url, *rest = arguments
        self._command = (sys.executable, "-X", "faulthandler", "-m", module, role, url, str(self.log), *rest)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def said(self) -> bytes:
        """Its log."""
        return self.log.read_bytes() if self.log.exists() else b""

    @property
    def errors(self) -> str:
        """What it wrote to its standard output and error."""
        return self._errors.read_text()

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.returncode == 0

    @property
    def failed(self) -> str | None:
        """What it said before it ended with an error."""
        code = None if self._process is None else self._process.returncode
        if code in {None, 0, -signal.SIGKILL, -signal.SIGTERM}:
            return None
        return f"{self.name} ended with {code}: {self.errors[-1500:]}"

    async def start(self) -> None:
        """Start it."""
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=_ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=errors,
                stderr=errors,
            )

    async def kill_and_start(self) -> None:
        """Kill it, and start another one in its place; do nothing where it has ended."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
            await self.start()

    async def pause(self, seconds: float) -> None:
        """Let it stand still for a while."""
        process = self._process
        if process is None:
            return
        began = time.monotonic()
        _send(process, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            _send(process, signal.SIGCONT)
            self.pauses.append(Pause(str(process.pid), began, time.monotonic()))

    async def end(self) -> list[str]:
        """End it; return what was wrong with that."""
        process = self._process
        if process is None or process.returncode is not None:
            return [] if self.failed is None else [self.failed]
        _send(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                await process.wait()
        except TimeoutError:
            await self.abandon()
            return [f"{self.name} did not end within {_ENDS_WITHIN:g} s after SIGTERM"]
        return [] if self.failed is None else [self.failed]

    async def abandon(self) -> None:
        """Kill it, whatever it does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
