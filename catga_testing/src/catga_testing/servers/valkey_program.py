"""How a valkey-server or redis-server is started, and how it shows that it is ready."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from catga_testing.servers.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ValkeyProgram:
    """A server with these settings.

    Attributes:
        program: The executable.
        data_dir: Where it keeps its data; `None` for its own directory.
        settings: Lines of its configuration file; ports and directory are added.
        password: What clients must show.
        cluster: Whether it is a node of a cluster, with a second port for the other nodes.
        sentinel: Whether it keeps no data, and watches servers that do.

    """

    program: Path
    data_dir: Path | None
    settings: Mapping[str, str]
    password: str | None
    cluster: bool
    sentinel: bool = False

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def ports(self) -> int:
        """How many ports it listens on."""
        return 2 if self.cluster else 1

    @property
    def keeps_data(self) -> bool:
        """Whether its data outlives `close`."""
        return self.data_dir is not None

    def find(self) -> Path:
        """Return the program."""
        return self.program

    def command(self, program: Path, directory: Path, ports: Sequence[int]) -> list[str]:
        """Write the configuration and return how to start with it."""
        data = self.data_dir or directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        entries = {"bind": LOOPBACK, "port": str(ports[0]), "dir": str(data)}
        if self.cluster:
            entries |= {"cluster-enabled": "yes", "cluster-port": str(ports[1])}
        if self.password is not None:
            entries["requirepass"] = self.password
        config = directory / "server.conf"
        config.touch(mode=0o600)  # it may hold a password
        lines = [f"{key} {_quoted(value)}" for key, value in {**entries, **self.settings}.items()]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [str(program), str(config), *(["--sentinel"] if self.sentinel else [])]

    def ready(self, ports: Sequence[int], pid: int) -> bool:
        """Tell whether the server of this pid has loaded its data and takes clients."""
        info = ask(ports[0], "INFO", password=self.password)
        return f"process_id:{pid}\r\n" in info and (self.sentinel or "\nloading:0\r\n" in info)


def ask(port: int, *command: str, password: str | None = None) -> str:
    """Return a server's answer to one command, as it came; empty when none answers.

    Args:
        port: Its port on the loopback.
        command: The command and its arguments.
        password: What to sign in with.

    """
    commands = ([("AUTH", password)] if password is not None else []) + [command]
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(b"".join(map(_packed, commands)))
            # Nothing more to ask: it closes after its answer. A Sentinel knows no QUIT.
            connection.shutdown(socket.SHUT_WR)
            parts: list[bytes] = []
            while part := connection.recv(65536):
                parts.append(part)
    except OSError:
        return ""
    return b"".join(parts).decode(errors="replace")


def _packed(command: Sequence[str]) -> bytes:
    parts = [part.encode() for part in command]
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _quoted(value: str) -> str:
    # Several words are several arguments (as of `save 60 1`); a password may hold anything.
    if all(character.isalnum() or character in "-./_: " for character in value) and value:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
