"""What a service has done: an SQLite file of its own, which knows every message by its id."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from catga_core import CatgaError, current_context

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (message_id TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (message_id TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, action TEXT, order_id TEXT, amount TEXT);
CREATE TABLE IF NOT EXISTS stock (product TEXT PRIMARY KEY, counted INTEGER) WITHOUT ROWID;
"""
_FAILS_FIRST = 2  # attempts
_SLOW = 0.3  # seconds
_REFUSED = "!"


class Effect(msgspec.Struct, frozen=True):
    """One thing that a service has done.

    Args:
        action: What.
        order_id: For which order.
        amount: How much money, or how many goods.
    """

    action: str
    order_id: str
    amount: str


class Ledger:
    """The file of one service. Any number of its processes may use it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, isolation_level=None, timeout=30)
        # A process is killed, not the machine.
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def count(self, stock: Mapping[str, int]) -> None:
        """Put goods on the shelves."""
        self._file.executemany("INSERT INTO stock VALUES (?, ?)", stock.items())

    async def once(self, fate: str, work: Callable[[sqlite3.Connection], str]) -> str:
        """Do some work once for each message id, and give every repetition the first answer.

        Args:
            fate: What becomes of the order: the service may be slow, or fail first.
            work: Writes effects, and returns the answer; one that begins with `!` is the code of a refusal.

        Raises:
            RuntimeError: The service fails first.
            CatgaError: The refusal.
        """
        message_id = current_context().message_id
        counted = self._file.execute(
            "INSERT INTO asked VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
            (message_id,),
        )
        [(times,)] = counted.fetchall()
        undoing = message_id.endswith("/undo")
        if times <= _FAILS_FIRST and (fate == "flaky" or (fate == "stubborn" and undoing)):
            raise RuntimeError(fate)
        if fate == "slow":
            await asyncio.sleep(_SLOW)
        answer = self._answer(message_id, work)
        if fate == "slow" and times == 1:
            # The work is done, and whoever asked may not learn of it.
            await asyncio.sleep(_SLOW)
        if answer.startswith(_REFUSED):
            code = answer.removeprefix(_REFUSED)
            raise CatgaError(f"refused: {code}", code=code)
        return answer

    def effects(self) -> list[Effect]:
        """Return everything that was done, in its order."""
        rows = self._file.execute("SELECT action, order_id, amount FROM effects ORDER BY number")
        return [Effect(*row) for row in rows.fetchall()]

    def stock(self) -> dict[str, int]:
        """Return how many are left of each product."""
        return dict(self._file.execute("SELECT product, counted FROM stock").fetchall())

    def repeated(self) -> int:
        """Return how many requests came again."""
        [(times,)] = self._file.execute("SELECT coalesce(sum(times - 1), 0) FROM asked").fetchall()
        return int(times)

    def _answer(self, message_id: str, work: Callable[[sqlite3.Connection], str]) -> str:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            known = self._file.execute(
                "SELECT answer FROM seen WHERE message_id = ?", (message_id,)
            ).fetchone()
            if known is not None:
                return str(known[0])
            answer = work(self._file)
            self._file.execute("INSERT INTO seen VALUES (?, ?)", (message_id, answer))
            return answer
        finally:
            self._file.execute("COMMIT")


def note(file: sqlite3.Connection, action: str, order_id: str, amount: object) -> None:
    """Write an effect."""
    file.execute(
        "INSERT INTO effects (action, order_id, amount) VALUES (?, ?, ?)", (action, order_id, str(amount))
    )
