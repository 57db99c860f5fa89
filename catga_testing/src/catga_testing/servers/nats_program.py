"""How a nats-server is started, and how it shows that it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from catga_testing.servers.binary import find_nats_server
from catga_testing.servers.probe import server_info

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catga_testing.servers.config import NatsSettings


class NatsProgram:
    """A nats-server with these settings."""

    name = "nats-server"

    def __init__(
        self,
        settings: Callable[[Path], NatsSettings],
        *,
        monitoring: bool,
        keeps_data: bool,
        program: Path | None = None,
    ) -> None:
        """Prepare; `settings` gets the server's own directory."""
        self._program = program
        self._settings = settings
        self.ports: int = 2 if monitoring else 1
        self.keeps_data: bool = keeps_data
        self._called = ""

    def find(self) -> Path:
        """Return the program."""
        return self._program or find_nats_server()

    def command(self, program: Path, directory: Path, ports: Sequence[int]) -> list[str]:
        """Write the configuration and return how to start with it."""
        settings = self._settings(directory)
        self._called = settings.name
        config = directory / "server.conf"
        config.touch(mode=0o600)  # it may hold a password
        monitor_port = ports[1] if len(ports) > 1 else None
        config.write_text(settings.render(port=ports[0], monitor_port=monitor_port), encoding="utf-8")
        return [str(program), "-c", str(config)]

    def ready(self, ports: Sequence[int], pid: int) -> bool:  # noqa: ARG002  # it does not tell its pid, but its name
        """Tell whether the server of this name takes clients."""
        info = server_info(ports[0])
        return info is not None and info.get("server_name") == self._called
