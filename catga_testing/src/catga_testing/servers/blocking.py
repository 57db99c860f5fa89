"""A nats-server for code without an event loop."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from catga_testing.servers.binary import find_nats_server
from catga_testing.servers.errors import ServerError, ServerNotRunningError, ServerStartError
from catga_testing.servers.ports import ReservedPort
from catga_testing.servers.probe import server_info
from catga_testing.servers.process import ServerProcess
from catga_testing.servers.running import close_at_exit, closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from catga_testing.servers.config import NatsSettings

_PORT_ATTEMPTS = 5


class BlockingNatsServer:
    """The same server as `NatsServer`'s, with methods that block until they are done; get it from `NatsServer.blocking`."""

    def __init__(
        self, settings: Callable[[Path], NatsSettings], *, keep_store: bool, start_within: float
    ) -> None:
        """Prepare, without starting anything; `settings` gets the server's own directory."""
        self._settings = settings
        self._keep_store = keep_store
        self._start_within = start_within
        self._process: ServerProcess | None = None
        self._ports: tuple[ReservedPort, ReservedPort | None] | None = None

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
        return self._reserved()[0].number

    @property
    def monitor_port(self) -> int | None:
        """The monitoring port."""
        monitoring = self._reserved()[1]
        return None if monitoring is None else monitoring.number

    def start(self) -> None:
        """Start the server and return when it accepts clients; see `NatsServer.start`."""
        if self._process is not None:
            message = "the server was started already; use restart()"
            raise ServerError(message)
        program = find_nats_server()
        directory = Path(tempfile.mkdtemp(prefix="catga-nats-"))
        try:
            self._process = ServerProcess(directory)
            close_at_exit(self)
            self._start_on_free_ports(program, directory)
        except BaseException:
            self.close()
            shutil.rmtree(directory, ignore_errors=True)
            raise

    def kill(self) -> None:
        """Crash the server (SIGKILL); see `NatsServer.kill`."""
        self.process.kill()

    def stop(self) -> None:
        """Freeze the server (SIGSTOP); see `NatsServer.stop`."""
        self.process.stop()

    def resume(self) -> None:
        """Let a frozen server continue; see `NatsServer.resume`."""
        self.process.resume()

    def terminate(self, *, within: float = 10.0) -> None:
        """End the server in good order (SIGTERM); see `NatsServer.terminate`."""
        self.process.terminate(within=within)

    def restart(self) -> None:
        """Start the server again on the same ports with the same store; see `NatsServer.restart`."""
        process = self.process
        if process.alive:
            process.terminate(within=self._start_within)
        self._launch(find_nats_server(), process)

    def close(self) -> None:
        """End the server and remove what it left; see `NatsServer.close`."""
        process, self._process = self._process, None
        try:
            if process is not None and self._keep_store and process.alive:
                process.terminate(within=10.0)
        finally:
            if process is not None:
                process.close()
                shutil.rmtree(process.directory, ignore_errors=True)
            self._give_ports_back()
            closed(self)

    def _start_on_free_ports(self, program: Path, directory: Path) -> None:
        settings = self._settings(directory)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._ports = (ReservedPort(), ReservedPort() if settings.monitoring else None)
            try:
                self._launch(program, self.process)
            except ServerStartError:
                # A program that does not know our reservations can still have taken a port in this moment.
                if (
                    attempt == _PORT_ATTEMPTS
                    or self.is_running
                    or all(port.is_free() for port in self._ports if port)
                ):
                    raise
                self._give_ports_back()
            else:
                return

    def _launch(self, program: Path, process: ServerProcess) -> None:
        settings = self._settings(process.directory)
        config = process.directory / "server.conf"
        config.touch(mode=0o600)  # it may hold a password
        config.write_text(settings.render(port=self.port, monitor_port=self.monitor_port), encoding="utf-8")
        began = time.monotonic()
        process.start([str(program), "-c", str(config)])
        # By name: another program's server on this port must not pass for ours.
        if not process.wait_until(lambda: _is_called(self.port, settings.name), within=self._start_within):
            code = process.exit_code
            ended = "is not ready" if code is None else f"ended with exit code {code}"
            message = f"nats-server {ended} after {time.monotonic() - began:.1f} s\n{process.log_tail()}"
            raise ServerStartError(message)

    def _reserved(self) -> tuple[ReservedPort, ReservedPort | None]:
        if self._ports is None:
            message = "the server has no port yet: it was not started, or is closed"
            raise ServerNotRunningError(message)
        return self._ports

    def _give_ports_back(self) -> None:
        for port in self._ports or ():
            if port is not None:
                port.close()
        self._ports = None


def _is_called(port: int, name: str) -> bool:
    info = server_info(port)
    return info is not None and info.get("server_name") == name
