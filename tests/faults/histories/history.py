"""What the processes of a run have done and seen, in the order of the machine's monotonic clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One thing that a process has done or seen.

    Args:
        at: Seconds by the monotonic clock, which all processes of the machine share.
        worker: The process.
        kind: What it is.
        data: Its facts.
    """

    at: float
    worker: str
    kind: str
    data: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]


class Recorder:
    """Writes entries, one line each in one call: a kill leaves whole lines.

    Args:
        path: The file of this process.
        worker: Its name.
    """

    def __init__(self, path: Path, worker: str) -> None:
        self.worker: str = worker
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, kind: str, *, at: float | None = None, **data: Any) -> None:
        """Write one entry.

        Args:
            kind: What it is.
            at: When it was; now by default.
            data: Its facts.
        """
        entry = Entry(time.monotonic() if at is None else at, self.worker, kind, data)
        os.write(self._file, msgspec.json.encode(entry) + b"\n")


def read_history(paths: Iterable[Path]) -> list[Entry]:
    """Return the entries of several files in the order of their times."""
    decoder = msgspec.json.Decoder(Entry)
    found = [
        decoder.decode(line)
        for path in paths
        if path.exists()
        for line in path.read_bytes().split(b"\n")
        if line.endswith(b"}")
    ]
    return sorted(found, key=lambda each: each.at)
