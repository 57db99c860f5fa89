"""A server ends when the process that started it ends, however that happens."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Not PR_SET_PDEATHSIG: it is Linux only, and it fires when the *thread* that started the server ends, which
# for a server started from a thread pool is at any time. A pipe is closed by the system only with the process.
_SHELL = "/bin/sh"
_WATCH = """
while read -r line; do pid=$line; done
[ "${pid:-none}" = none ] || kill -KILL "$pid"
sleep 0.2
rm -rf -- "$1"
"""
# The server announces itself before it exists as a server, so there is no moment in which it runs unwatched.
_ANNOUNCE = 'echo $$ >&0; exec "$@" </dev/null'


class Guard:
    """Watches this process from outside and, when it is gone, kills the server and removes its directory."""

    def __init__(self, directory: Path) -> None:
        """Start watching.

        Args:
            directory: Removed with all its content when this process ends without calling `close`.

        """
        read_end, self._write_end = os.pipe()
        try:
            self._watcher = subprocess.Popen(
                [_SHELL, "-c", _WATCH, "catga-guard", str(directory)],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)

    def spawn(self, command: list[str], *, log: Path, directory: Path) -> subprocess.Popen[bytes]:
        """Start a process that is killed when this process ends.

        Args:
            command: The program and its arguments.
            log: The file that its output is appended to.
            directory: Its working directory.

        Returns:
            The process; its pid is the program's own.

        """
        with log.open("ab") as output:
            return subprocess.Popen(
                [_SHELL, "-c", _ANNOUNCE, "catga-server", *command],
                stdin=self._write_end,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                # Its own session: Ctrl-C reaches the program under test, which then decides when the server ends.
                start_new_session=True,
            )

    def forget(self) -> None:
        """Watch no process any more, because it ended: its number may soon be somebody else's."""
        with contextlib.suppress(OSError):
            os.write(self._write_end, b"none\n")

    def close(self) -> None:
        """Stop watching; nothing is killed and nothing removed."""
        self._watcher.kill()
        self._watcher.wait()
        os.close(self._write_end)
