"""What the tests of the SQLite stores share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from catga_core.identifiers import new_id
from catga_core.interfaces import ANY, EventLog, EventRecord, Stores, StreamAppend
from catga_sqlite import SqliteOptions, storage
from catga_sqlite.engine.opening import open_writer


def record(message_id: str | None = None, *, data: bytes = b"{}", recorded_at: Any = 1) -> EventRecord:
    return EventRecord(message_id or new_id(), "Paid", 1, "json", data, recorded_at)


def append(stream: str, *records: EventRecord, expected: int = ANY) -> StreamAppend:
    return StreamAppend(stream, expected, records or (record(),))


def log_of(stores: Stores) -> EventLog:
    return stores[EventLog]


def prepare_writer(monkeypatch: pytest.MonkeyPatch, prepare: Callable[[sqlite3.Connection], object]) -> None:
    """Have something done with the writer's connection before it is used."""

    def opened(options: SqliteOptions) -> sqlite3.Connection:
        connection = open_writer(options)
        prepare(connection)
        return connection

    monkeypatch.setattr(storage, "open_writer", opened)


def query(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return what a program beside Catga reads in the file."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def run(program: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a process that runs a program with the file as its argument."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
