"""A folder of small files, changed several at once: what touches the disk, and blocks while it does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from catga_core import ConfigurationError

Name = tuple[str, str]
"""A table, and a file's name in it."""

Changes = dict[Name, bytes | None]
"""What files are to hold; `None` for those that are to be gone."""

_JOURNAL = "journal"
_PART = ".part"


class _Entry(msgspec.Struct):
    table: str
    name: str
    data: bytes | None


class NotWrittenError(Exception):
    """Nothing was written: the changes had not been decided on yet."""


def name_of(*parts: str) -> str:
    """Return a file's name for texts of any length with any characters; other texts have another one."""
    # Not joined by a character: "a:b" and "c" are not "a" and "b:c".
    return sha256(msgspec.json.encode(parts)).hexdigest()


class Folder:
    """The files of one folder, one process at a time.

    Changes are decided on by writing all of them into one file, the journal, which appears whole or not at all. Then each
    is made, and the journal goes. Who opens the folder after a crash makes those that a journal tells of once more.

    Args:
        path: The folder; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1

    def open(self) -> dict[str, dict[str, bytes]]:
        """Take the folder for this process, and return what is in it: tables, and in each the files by their names.

        Raises:
            ConfigurationError: When the folder cannot be used, or another one has it.
        """
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._path / "lock", os.O_CREAT | os.O_RDWR)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._finish_the_journal()
            tables = [each for each in self._path.iterdir() if each.is_dir()]
            return {table.name: _files_of(table) for table in tables}
        except BlockingIOError:
            self.close()
            msg = f"another process uses {self._path}: stop it, or give each application a folder of its own"
            raise ConfigurationError(msg) from None
        except (OSError, msgspec.MsgspecError) as error:
            self.close()
            msg = f"the folder {self._path} cannot be used: {error}"
            raise ConfigurationError(msg) from error

    def close(self) -> None:
        """Leave the folder to others."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def change(self, changes: Mapping[Name, bytes | None]) -> None:
        """Make changes, all or nothing, to last.

        Raises:
            NotWrittenError: When none was made.
            OSError: When they are decided on, and some may not have been made: the next `open` makes them.
        """
        entries = [_Entry(table, name, data) for (table, name), data in changes.items()]
        part = self._path / (_JOURNAL + _PART)
        try:
            write_to_last(part, msgspec.json.encode(entries))
        except OSError as error:
            raise NotWrittenError(str(error)) from error
        part.replace(self._path / _JOURNAL)
        _keep_names_of(self._path)
        self._make(entries)

    def _finish_the_journal(self) -> None:
        journal = self._path / _JOURNAL
        if journal.exists():
            self._make(msgspec.json.decode(journal.read_bytes(), type=list[_Entry]))

    def _make(self, entries: list[_Entry]) -> None:
        for table in {each.table for each in entries}:
            if not (self._path / table).exists():
                (self._path / table).mkdir()
                _keep_names_of(self._path)
        for each in entries:
            file = self._path / each.table / each.name
            if each.data is None:
                file.unlink(missing_ok=True)
            else:
                part = file.with_suffix(_PART)
                write_to_last(part, each.data)
                part.replace(file)
        for table in {each.table for each in entries}:
            _keep_names_of(self._path / table)
        # Not before the last one is made to last: until then, the journal is all there is of it.
        (self._path / _JOURNAL).unlink()


def _files_of(table: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in table.iterdir() if file.suffix != _PART}


def write_to_last(file: Path, data: bytes) -> None:
    """Write a file, and return when it is on the disk."""
    with file.open("wb") as open_file:
        open_file.write(data)
        open_file.flush()
        os.fsync(open_file.fileno())


def _keep_names_of(folder: Path) -> None:
    # A new name is the folder's own data, and lasts when that is written.
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
