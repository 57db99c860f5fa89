"""What many tests of the core need: a place to meet, and Python programs of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Gate:
    """Holds whoever comes until it is opened, and tells when somebody has come."""

    def __init__(self) -> None:
        self.arrived = 0
        self._someone = asyncio.Event()
        self._open = asyncio.Event()

    async def pass_through(self) -> None:
        self.arrived += 1
        self._someone.set()
        await self._open.wait()

    async def reached(self) -> None:
        async with asyncio.timeout(5):
            await self._someone.wait()

    def open(self) -> None:
        self._open.set()


def run_program(program: str, *, environment: Mapping[str, str] | None = None, timeout: float = 30) -> str:
    """Run Python code in a process of its own and return what it prints; it must end well."""
    import os

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
