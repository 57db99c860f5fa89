"""The processes of a run: started, killed, stopped for a moment, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_ENDS_WITHIN = 60.0
_LONGEST = 1.2  # seconds that a process stands still at most: longer than the leases of the workloads


class Worker:
    """One process.

    Args:
        workload: What it does.
        role: What it does in that.
        url: Its way to the storage.
        folder: Where its files are.
        seed: Decides what it does.
    """

    def __init__(self, workload: str, role: str, url: str, folder: Path, seed: int) -> None:
        self.role: str = role
        self.log: Path = folder / f"{role}.jsonl"
        self._arguments = (workload, role, url, str(self.log))
        self._seed = seed
        self._errors = folder / f"{role}.err"
        self._process: asyncio.subprocess.Process | None = None
        self._starts = 0

    async def start(self) -> None:
        """Start it, with another seed at each start."""
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.faults.histories.worker", *self._arguments, str(self._seed + self._starts),
                cwd=_ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=errors, stderr=errors,
            )  # fmt: skip
        self._starts += 1

    async def kill_and_start(self, _chance: random.Random) -> None:
        """Kill it, and start another one."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
            await self.start()

    async def hang(self, chance: random.Random) -> None:
        """Let it stand still for a moment."""
        process, seconds = self._process, chance.uniform(0.1, _LONGEST)
        self._send(process, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._send(process, signal.SIGCONT)

    async def end(self) -> list[str]:
        """End it; return what was wrong with that."""
        process = self._process
        if process is None:
            return []
        ended_before = process.returncode is not None
        self._send(process, signal.SIGCONT)
        self._send(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return [f"{self.role} did not end within {_ENDS_WITHIN:g} s after SIGTERM"]
        # One that was just started has no handler for SIGTERM yet.
        if ended_before or process.returncode not in {0, -signal.SIGTERM}:
            errors = self._errors.read_text()[-1500:]
            return [f"{self.role} ended by itself with {process.returncode}: {errors}"]
        return []

    async def abandon(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _send(self, process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
