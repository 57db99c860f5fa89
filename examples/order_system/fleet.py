"""The services as processes of their own, and what is done to them on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from .stores import Store

# payments decides from the request alone, so there may be as many of it as one likes.
REPLICAS = {"orders": 1, "notifications": 1, "inventory": 1, "payments": 2}

_PACKAGE = __package__ or "order_system"
# Where this package was found, the services find it too, whatever the current directory.
_ROOT = Path(__file__).resolve().parents[_PACKAGE.count(".") + 1]
_READY = b"catga.started"
_READY_WITHIN = 30.0
_ENDED_WITHIN = 10.0
_LOG_LINES = 20


Launch: TypeAlias = Callable[[], Coroutine[None, None, asyncio.subprocess.Process]]


class FleetError(Exception):
    """A service did not start, or ended by itself; the text holds the end of its log."""


class ServiceProcess:
    """One running service."""

    def __init__(self, name: str, launch: Launch, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._launch = launch
        self._process = process
        self._log = log
        self._log_begins = 0
        self._killed = False
        self._started_again = asyncio.Event()

    @property
    def killed(self) -> bool:
        """Whether it was ended by `kill` or `end`, and not started again."""
        return self._killed

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): it still is there, but nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    async def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._killed = True
        self._process.kill()
        await self._process.wait()

    async def restart(self) -> None:
        """Start it again after it was killed, and wait until it can be asked.

        Raises:
            FleetError: When it ended, or takes too long.
        """
        # The log goes on, and what it says of the first start must not be taken for the second.
        self._log_begins = len(await asyncio.to_thread(self._log.read_bytes))
        self._process = await self._launch()
        self._killed = False
        self._started_again.set()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it can be asked.

        Raises:
            FleetError: When it ended, or takes too long.
        """
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while _READY not in (await asyncio.to_thread(self._log.read_bytes))[self._log_begins :]:
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise FleetError(
                f"{self.name} was not ready within {_READY_WITHIN:.0f} s\n{self.log_tail()}"
            ) from None

    def check(self) -> None:
        """Raise when it ended and nobody asked it to.

        Raises:
            FleetError: With its exit code and the end of its log.
        """
        code = self._process.returncode
        if code is not None and not self.killed:
            raise FleetError(f"{self.name} ended with exit code {code}\n{self.log_tail()}")

    async def watch(self) -> None:
        """Watch it, restarts included, until it ends by itself.

        Raises:
            FleetError: With its exit code and the end of its log.
        """
        while True:
            await self._process.wait()
            self.check()
            await self._started_again.wait()
            self._started_again.clear()

    async def end(self) -> None:
        """Ask it to end in good order (SIGTERM), and make it when it does not."""
        if self._process.returncode is not None:
            return
        self._killed = True
        with suppress(ProcessLookupError):
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(_ENDED_WITHIN):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join((f"--- the end of {self.name}'s log", *lines, "---"))


class Fleet:
    """All services; `async with running(url) as fleet:` starts them and ends them."""

    def __init__(self, processes: dict[str, ServiceProcess]) -> None:
        self._processes = processes

    def __getitem__(self, name: str) -> ServiceProcess:
        return self._processes[name]

    async def watch(self) -> None:
        """Watch all services until one ends by itself.

        Raises:
            FleetError: With its exit code and the end of its log.
        """
        await asyncio.gather(*(process.watch() for process in self._processes.values()))

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(process.log_tail() for process in self._processes.values())


@asynccontextmanager
async def running(nats: str, store: Store) -> AsyncGenerator[Fleet, None]:
    """Start every replica of every service, and end them all.

    Args:
        nats: Where they find each other.
        store: Where they keep their state.

    Raises:
        FleetError: When one of them does not start.
    """
    processes: dict[str, ServiceProcess] = {}
    with tempfile.TemporaryDirectory(prefix="order-system-") as folder:
        try:
            for name, count in REPLICAS.items():
                for number in range(1, count + 1):
                    called = name if count == 1 else f"{name}-{number}"
                    processes[called] = await _start(name, called, nats, store, Path(folder))
            await asyncio.gather(*(process.ready() for process in processes.values()))
            yield Fleet(processes)
        finally:
            await asyncio.gather(*(process.end() for process in processes.values()))


async def _start(service: str, called: str, nats: str, store: Store, folder: Path) -> ServiceProcess:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    log = folder / f"{called}.log"

    async def launch() -> asyncio.subprocess.Process:
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"{_PACKAGE}.service", service,
                "--nats", nats, "--store", store.argument, *(["--temporary"] if store.temporary else []), "--with-parent",
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
                # Ctrl-C is for the driver, which then ends the services in good order.
                start_new_session=True,
            )  # fmt: skip

    return ServiceProcess(called, launch, await launch(), log)
