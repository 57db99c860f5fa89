"""One server process: start it, hurt it, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from catga_testing.servers.errors import ServerError, ServerNotRunningError
from catga_testing.servers.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOG_LINES = 40
_POLL_SECONDS = 0.002


class ServerProcess:
    """A server as a child process that never outlives this process; every method blocks until it is done."""

    def __init__(self, directory: Path) -> None:
        """Prepare, without starting anything.

        Args:
            directory: Its working directory, removed when this process dies without closing it.

        """
        self.directory = directory
        self.log: Path = directory / "server.log"
        self._guard = Guard(directory)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            ServerNotRunningError: It does not run.

        """
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (a stopped one counts as running)."""
        return self._process is not None and self._poll(self._process) is None

    @property
    def exit_code(self) -> int | None:
        """How the last run ended; negative for a signal, `None` while it runs or before the first start."""
        return None if self._process is None else self._poll(self._process)

    def start(self, command: list[str]) -> int:
        """Start the program.

        Returns:
            Its process id, whatever has become of it since.

        Raises:
            ServerError: It runs already.

        """
        if self.alive:
            message = f"the server runs already, with pid {self.pid}"
            raise ServerError(message)
        self._process = self._guard.spawn(command, log=self.log, directory=self.directory)
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL); when this returns the process is gone."""
        process = self._running()
        process.kill()
        process.wait()
        self._guard.forget()

    def stop(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and nothing answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # not on macOS before Python 3.13; there the signal is merely sent
            # WNOWAIT leaves the process's end, should that come first, for Popen to collect.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen one continue (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def terminate(self, *, within: float) -> None:
        """Ask it to end in good order (SIGTERM) and wait for that.

        Args:
            within: Seconds to wait; then it is killed.

        Raises:
            ServerError: It had to be killed.

        """
        process = self._running()
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a frozen process would get the first signal only when continued
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"the server did not end within {within} s of SIGTERM and was killed\n{self.log_tail()}"
            raise ServerError(message) from None
        self._guard.forget()

    def wait_until(self, check: Callable[[], bool], *, within: float) -> bool:
        """Wait until the check holds.

        Args:
            check: Asked every few milliseconds.
            within: Seconds to wait.

        Returns:
            Whether it held in time; `False` at once when the process ended.

        """
        return wait_until(check, within=within, while_true=lambda: self.alive)

    def log_tail(self) -> str:
        """Return the last lines of its log, for an error's text."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        shown = "\n".join(lines[-_LOG_LINES:]) or "(empty)"
        return f"--- the last lines of its log ---\n{shown}"

    def close(self) -> None:
        """End it if it runs, and stop guarding it."""
        if self.alive:
            self.kill()
        self._guard.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            message = "the server was not started"
            raise ServerNotRunningError(message)
        code = self._poll(self._process)
        if code is not None:
            message = f"the server does not run: it ended with exit code {code}"
            raise ServerNotRunningError(message)
        return self._process

    def _poll(self, process: subprocess.Popen[bytes]) -> int | None:
        if process.returncode is not None:
            return process.returncode
        code = process.poll()
        if code is not None:
            self._guard.forget()
        return code


def wait_until(
    check: Callable[[], bool], *, within: float, while_true: Callable[[], bool] = lambda: True
) -> bool:
    """Block until the check holds.

    Args:
        check: Asked every few milliseconds.
        within: Seconds to wait.
        while_true: Waiting ends as soon as this is false.

    Returns:
        Whether the check held in time.

    """
    deadline = time.monotonic() + within
    while while_true():
        if check():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return False
