"""A test's server for code without an event loop, whatever program it is."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from catga_testing.servers.errors import ServerError, ServerNotRunningError, ServerStartError
from catga_testing.servers.ports import ReservedPort
from catga_testing.servers.process import ServerProcess
from catga_testing.servers.running import close_at_exit, closed

if TYPE_CHECKING:
    from collections.abc import Sequence

_PORT_ATTEMPTS = 5


class Program(Protocol):
    """What is special about one kind of server."""

    @property
    def name(self) -> str:
        """The program's name, for its directory and for errors."""
        ...

    @property
    def ports(self) -> int:
        """How many ports it listens on."""
        ...

    @property
    def keeps_data(self) -> bool:
        """Whether its data outlives `close`, so that it is to end in good order."""
        ...

    def find(self) -> Path:
        """Return the program, or raise `ServerBinaryNotFoundError`."""
        ...

    def command(self, program: Path, directory: Path, ports: Sequence[int]) -> list[str]:
        """Write what it needs into its directory and return how to start it."""
        ...

    def ready(self, ports: Sequence[int], pid: int) -> bool:
        """Tell whether this very process takes clients; another's server on the port must not pass for it."""
        ...


class BlockingServer:
    """A server whose methods block until they are done; get it from a server's `blocking`."""

    def __init__(self, program: Program, *, start_within: float) -> None:
        """Prepare, without starting anything."""
        self._program = program
        self._start_within = start_within
        self._process: ServerProcess | None = None
        self._ports: list[ReservedPort] = []

    @property
    def process(self) -> ServerProcess:
        """The process.

        Raises:
            ServerNotRunningError: The server was not started, or is closed.

        """
        if self._process is None:
            message = "the server was not started, or is closed"
            raise ServerNotRunningError(message)
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the process runs (a stopped one counts as running)."""
        return self._process is not None and self._process.alive

    @property
    def port(self) -> int:
        """The client port."""
        return self.ports[0]

    @property
    def ports(self) -> list[int]:
        """Every port it listens on, the client port first.

        Raises:
            ServerNotRunningError: The server was not started, or is closed.

        """
        if not self._ports:
            message = "the server has no port yet: it was not started, or is closed"
            raise ServerNotRunningError(message)
        return [port.number for port in self._ports]

    def start(self) -> None:
        """Start the server and return when it accepts clients; see `Server.start`."""
        if self._process is not None:
            message = "the server was started already; use restart()"
            raise ServerError(message)
        program = self._program.find()
        directory = Path(tempfile.mkdtemp(prefix=f"catga-{self._program.name}-"))
        try:
            self._process = ServerProcess(directory)
            close_at_exit(self)
            self._start_on_free_ports(program)
        except BaseException:
            self.close()
            shutil.rmtree(directory, ignore_errors=True)
            raise

    def kill(self) -> None:
        """Crash the server (SIGKILL); see `Server.kill`."""
        self.process.kill()

    def stop(self) -> None:
        """Freeze the server (SIGSTOP); see `Server.stop`."""
        self.process.stop()

    def resume(self) -> None:
        """Let a frozen server continue; see `Server.resume`."""
        self.process.resume()

    def terminate(self, *, within: float = 10.0) -> None:
        """End the server in good order (SIGTERM); see `Server.terminate`."""
        self.process.terminate(within=within)

    def restart(self) -> None:
        """Start the server again on the same ports with the same data; see `Server.restart`."""
        process = self.process
        if process.alive:
            process.terminate(within=self._start_within)
        self._launch(self._program.find(), process)

    def close(self) -> None:
        """End the server and remove what it left; see `Server.close`."""
        process, self._process = self._process, None
        try:
            if process is not None and self._program.keeps_data and process.alive:
                process.terminate(within=10.0)
        finally:
            if process is not None:
                process.close()
                shutil.rmtree(process.directory, ignore_errors=True)
            self._give_ports_back()
            closed(self)

    def _start_on_free_ports(self, program: Path) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._ports = [ReservedPort() for _ in range(self._program.ports)]
            try:
                self._launch(program, self.process)
            except ServerStartError:
                # A program that does not know our reservations can still have taken a port in this moment.
                if (
                    attempt == _PORT_ATTEMPTS
                    or self.is_running
                    or all(port.is_free() for port in self._ports)
                ):
                    raise
                self._give_ports_back()
            else:
                return

    def _launch(self, program: Path, process: ServerProcess) -> None:
        ports = self.ports
        command = self._program.command(program, process.directory, ports)
        began = time.monotonic()
        # As it was given, for it may have ended already.
        pid = process.start(command)
        if not process.wait_until(lambda: self._program.ready(ports, pid), within=self._start_within):
            code = process.exit_code
            ended = "is not ready" if code is None else f"ended with exit code {code}"
            seconds = time.monotonic() - began
            message = f"{self._program.name} {ended} after {seconds:.1f} s\n{process.log_tail()}"
            raise ServerStartError(message)

    def _give_ports_back(self) -> None:
        for port in self._ports:
            port.close()
        self._ports = []
