"""What can be set about the SQLite file, checked as soon as it is written down."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote

from catga_core.errors import ConfigurationError
from catga_core.option_checks import (
    choice_problems,
    invalid,
    is_whole_number,
    named_options,
    seconds_problems,
    whole_number_problems,
)
from catga_core.paths import native_path
from catga_core.url_options import options_in_query, shown_url

Synchronous = Literal["OFF", "NORMAL", "FULL", "EXTRA"]

CATGA: int = 0x43415447
"""The application id ("CATG") in the header of a file that Catga has made."""

_SCHEME = "sqlite://"
_SYSTEM = "SQLite"


@named_options
@dataclass(frozen=True, slots=True)
class SqliteOptions:
    """Which file to keep data in, and what to promise of it.

    Args:
        path: The file; made where there is none, in a folder that exists. It may hold tables of your own; Catga's begin
            with `catga_`. Not on a network share: WAL needs memory that all its processes share.
        synchronous: When the disk is made to keep what was written. `"FULL"`: at every commit; what was acknowledged
            survives a power cut. `"EXTRA"`: the same, for file systems that are slow to keep a deleted journal; in WAL mode
            it is `"FULL"`. `"NORMAL"`: at checkpoints; a process killed loses nothing, a power cut may lose the last commits,
            and the file stays whole. `"OFF"`: never; a process killed loses nothing, a power cut may damage the file.
        busy_timeout_seconds: How long a write waits for another process that is writing, before it fails with
            `PERSISTENCE_FAILED` and nothing is written.
        unit_of_work_timeout_seconds: How long a write waits for a unit of work of this process that has the file, before it
            fails in the same way; and how long `stop()` waits for such a one before it rolls that back.
        readers: How many threads read beside the one that writes; each has its own connection.
        poll_seconds: How often a projection or subscription that waits looks whether another process has written. This
            process's own writes wake it at once.
        file_mode: The permissions of a file that Catga creates, and of its write-ahead log: `0o600`, for the process's own user,
            by default, because the file has the content of every message. `None` leaves them to the umask. A file that exists
            keeps its own. No effect on Windows.
        application_id: The number in the file's header that says whose it is; a file that has another one is refused. Set it
            to that of your own application where that has one.

    Raises:
        ConfigurationError: Listing everything that is wrong.
    """

    path: str | os.PathLike[str]
    synchronous: Synchronous = "FULL"
    busy_timeout_seconds: float = 5.0
    unit_of_work_timeout_seconds: float = 10.0
    readers: int = 2
    poll_seconds: float = 0.1
    file_mode: int | None = 0o600
    application_id: int = CATGA

    def __post_init__(self) -> None:
        """Check everything."""
        problems = [
            *self._path_problems(),
            *seconds_problems(
                self, ("busy_timeout_seconds", "unit_of_work_timeout_seconds"), system=_SYSTEM, least=0
            ),
            *seconds_problems(self, ("poll_seconds",), system=_SYSTEM, least=0.001),
            *whole_number_problems(self, ("readers",), system=_SYSTEM, most=64),
            *whole_number_problems(self, ("application_id",), system=_SYSTEM, most=0x7FFFFFFF),
            *self._mode_problems(),
            *choice_problems(self, "synchronous", get_args(Synchronous), system=_SYSTEM),
        ]
        if problems:
            raise ConfigurationError(problems)

    @property
    def file(self) -> str:
        """The path as a text."""
        return os.fspath(self.path)

    @classmethod
    def from_url(cls, url: str) -> SqliteOptions:
        """Return the options written as one text, as plugins are configured.

        Args:
            url: A path (`app.db`), or `sqlite:///app.db` (relative), `sqlite:////var/lib/app.db` (absolute); every option
                of this class but `path` and `file_mode` can stand after a question mark of such a URL: `sqlite:///app.db?synchronous=NORMAL`.

        Raises:
            ConfigurationError: For what cannot be read, and for options that do not exist.
        """
        if not url.startswith(_SCHEME):
            return cls(url)
        place, _, query = url.removeprefix(_SCHEME).partition("?")
        if not place.startswith("/") or place == "/":
            raise ConfigurationError(
                f"the SQLite URL {shown_url(url)} names no file: write sqlite:///app.db for a file beside the program, or "
                "sqlite:////var/lib/app.db (four slashes) for one with its whole path"
            )
        given = options_in_query(cls, query, system="SQLite", without=("path", "file_mode"))
        return cls(unquote(place[1:]), **given)

    def _mode_problems(self) -> list[str]:
        mode: object = self.file_mode
        if mode is None or (
            is_whole_number(mode)
            and isinstance(mode, int)
            and 0o600 <= mode <= 0o777
            and mode & 0o600 == 0o600
        ):
            return []
        shown = oct(mode) if isinstance(mode, int) and not isinstance(mode, bool) else repr(mode)
        fix = "Set permissions with which the owner may read and write, such as 0o600 or 0o660, or None."
        return [f"{_SYSTEM} option file_mode={shown} is invalid. {fix}"]

    def _path_problems(self) -> list[str]:
        path: object = self.path
        if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
            return [invalid(_SYSTEM, "path", path, "Set a file path, such as 'app.db'.")]
        text = os.fspath(path)
        if not text or "\0" in text or not _is_path(text):
            return [invalid(_SYSTEM, "path", text, "Set a file path, such as 'app.db'.")]
        if text == ":memory:" or text.startswith("file:"):
            fix = "Set the path of a file that several connections can share, or use the in-memory stores instead of SQLite."
            return [invalid(_SYSTEM, "path", text, fix)]
        return []


def _is_path(text: str) -> bool:
    try:
        native_path(text)
    except UnicodeEncodeError:
        # A lone surrogate has no bytes.
        return False
    return True
