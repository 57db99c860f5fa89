"""Commands of an application's own in a unit of work."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

_LARGEST = 10**15


class _Rule(msgspec.Struct, frozen=True):
    kind: str  # the kind of value it is for, empty for any
    after: str  # the kind of value it leaves, empty for an unchanged one
    least: int  # arguments after the key
    most: int | None
    pairs: bool = False
    counts: bool = False


_RULES = {
    "SET": _Rule("", "string", 1, 1),
    "DEL": _Rule("", "none", 0, 0),
    "INCRBY": _Rule("string", "string", 1, 1, counts=True),
    "HSET": _Rule("hash", "hash", 2, None, pairs=True),
    "HDEL": _Rule("hash", "hash", 1, None),
    "HINCRBY": _Rule("hash", "hash", 2, 2, counts=True),
    "SADD": _Rule("set", "set", 1, None),
    "SREM": _Rule("set", "set", 1, None),
    "ZADD": _Rule("zset", "zset", 2, None, pairs=True),
    "ZREM": _Rule("zset", "zset", 1, None),
    "LPUSH": _Rule("list", "list", 1, None),
    "RPUSH": _Rule("list", "list", 1, None),
}

OWN = "app"
"""What keys of an application's own begin with, after the stores' root."""

_MOST_ARGUMENTS = 5000  # Lua's stack takes no more than 8,000


class RedisConnection:
    """Collects commands of an application's own for the script that commits a unit of work.

    Redis takes nothing back that a script has written. So only commands are taken that can be known not to fail before anything is
    written: their keys' kinds are checked in the same script.

    Args:
        root: What the stores' own keys begin with.
        stage: Collects an operation.
        clustered: Whether keys have to be in the stores' own slot.
    """

    def __init__(self, root: str, stage: Callable[..., None], *, clustered: bool) -> None:
        self._root = root
        self._stage = stage
        self._clustered = clustered
        self._written: set[str] = set()
        self._counted: set[str] = set()

    def save(self) -> tuple[set[str], set[str]]:
        """Return which keys were written so far, for `restore`."""
        return set(self._written), set(self._counted)

    def restore(self, saved: tuple[set[str], set[str]] | None) -> None:
        """Forget the commands since `save`; `None` for all of them."""
        self._written, self._counted = saved or (set(), set())

    def queue(self, command: str, key: str, /, *arguments: str | bytes | float) -> None:
        """Have a command done at the commit, together with everything else or not at all.

        Args:
            command: One of SET, DEL, INCRBY, HSET, HDEL, HINCRBY, SADD, SREM, ZADD, ZREM, LPUSH and RPUSH.
            key: The key; on a cluster it has to have the stores' hash tag, as `{catga}:app:mine`.
            arguments: What comes after the key.

        Raises:
            ValueError: For a command that is not taken, arguments that do not fit it, or a key of another slot.
            CatgaError: `PERSISTENCE_FAILED` when the unit of work is over. On leaving the block: `CONFLICT` when the key
                holds something else.
        """
        name = command.upper()
        rule = _RULES.get(name)
        if rule is None:
            msg = f"{command!r} may fail after others were written, so it is not taken: use one of {', '.join(_RULES)}"
            raise ValueError(msg)
        self._check_key(key)
        _check_arguments(name, rule, arguments)
        self._check_mix(rule, key)
        values = [repr(value) if isinstance(value, float) else value for value in arguments]
        counts = "1" if rule.counts else "0"
        self._stage("command", rule.kind, rule.after, counts, len(values) + 2, name, key, *values)

    if not TYPE_CHECKING:  # a checker finds a wrong name by itself; it would let all pass if it saw this

        def __getattr__(self, name: str) -> NoReturn:
            msg = f"{type(self).__name__!r} has no attribute {name!r}"
            if not name.startswith("_"):
                msg = (
                    f"uow.connection has no {name!r} where the storage is Redis, which has no SQL and no answers before the "
                    'commit: write uow.connection.queue("SET", key, value) or another command that queue takes, or keep '
                    "this data with the SQLite stores"
                )
            raise AttributeError(msg, name=name, obj=self)

    def _check_key(self, key: str) -> None:
        tag = self._root[:-1]
        mend = f"begin it with {self._root}{OWN}:"
        if key.startswith(self._root) and not key.startswith(f"{self._root}{OWN}:"):
            msg = f"the key {key!r} is among the stores' own: {mend}"
            raise ValueError(msg)
        if self._clustered and _slot_part(key) != tag[1:-1]:
            msg = f"the key {key!r} may be on another node than the stores', and a script is for one node: {mend}"
            raise ValueError(msg)

    def _check_mix(self, rule: _Rule, key: str) -> None:
        # A number that this very script has set cannot be looked at before.
        mixed = key in (self._written if rule.counts else self._counted)
        if mixed and rule.after != "none":
            msg = f"the key {key!r} is both set and counted in one unit of work: do one of them"
            raise ValueError(msg)
        if rule.after == "none":
            self._written.discard(key)
            self._counted.discard(key)
        else:
            (self._counted if rule.counts else self._written).add(key)


def _check_arguments(name: str, rule: _Rule, arguments: tuple[Any, ...]) -> None:
    count = len(arguments)
    too_many = count > (_MOST_ARGUMENTS if rule.most is None else rule.most)
    if count < rule.least or too_many or (rule.pairs and count % 2):
        msg = f"{name} does not take {count} arguments after its key"
        raise ValueError(msg)
    for value in arguments:
        if isinstance(value, bool) or not isinstance(value, str | bytes | int | float):
            msg = f"{name} takes strings, bytes and numbers, not {type(value).__name__}"
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for arguments that do not fit
    if rule.counts and not (isinstance(arguments[-1], int) and abs(arguments[-1]) <= _LARGEST):
        msg = f"{name} counts by a whole number up to {_LARGEST}, not {arguments[-1]!r}"
        raise ValueError(msg)
    if name == "ZADD" and not all(_is_score(value) for value in arguments[::2]):
        msg = "ZADD takes pairs of a number and a member"
        raise ValueError(msg)


def _is_score(value: object) -> bool:
    if isinstance(value, float):
        return not math.isnan(value)
    # A score is a float to the server.
    return isinstance(value, int) and abs(value) <= sys.float_info.max


def _slot_part(key: str) -> str:
    """Return the part of a key that a cluster chooses the node by."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else key
