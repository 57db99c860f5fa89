"""Message ids: unique across processes and cheap to make."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

_TAILS = tuple(f"{tail:02x}" for tail in range(256))


def _fresh() -> Callable[[], str]:
    return _ids().__next__


def _ids() -> Iterator[str]:
    # 80 random bits name the process, 48 count within it. The head is written once for 256 ids, so that one costs a
    # single concatenation: a quarter of a format call, a twentieth of a uuid4.
    # The secrets module does no more than this, and importing it costs a tenth of importing Catga.
    prefix = os.urandom(10).hex()
    for block in itertools.count(int.from_bytes(os.urandom(3))):
        head = f"{prefix}{block:010x}"
        for tail in _TAILS:
            yield head + tail


_make = _fresh()


def new_id() -> str:
    """Return a new id: 32 lower-case hexadecimal digits, unique across processes and forks."""
    return _make()


def _after_fork() -> None:
    # A forked child must not go on with its parent's prefix and counter.
    global _make  # noqa: PLW0603
    _make = _fresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
