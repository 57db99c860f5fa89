"""Message ids: unique across processes and cheap to make."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

_TAILS = tuple(f"{tail:03x}" for tail in range(4096))
_blocks = 0


def _heads() -> Iterator[Iterator[str]]:
    # 80 random bits name the process, 48 count within it. The head is formatted once for 4096 ids, and each of them is
    # one concatenation in C: a fifth of a format call, a thirtieth of a uuid4.
    # The secrets module does no more than this, and importing it costs a tenth of importing Catga.
    global _blocks  # noqa: PLW0603
    prefix, process = os.urandom(10).hex(), os.getpid()
    for block in itertools.count(int.from_bytes(os.urandom(3))):
        if process != os.getpid():
            prefix, process = os.urandom(10).hex(), os.getpid()
        _blocks += 1
        yield map(f"{prefix}{block:09x}".__add__, _TAILS)


new_id: Callable[[], str] = itertools.chain.from_iterable(_heads()).__next__
"""Return a new id: 32 lower-case hexadecimal digits, unique across processes and forks."""


def _after_fork() -> None:
    # A forked child must not go on with its parent's block of ids.
    block = _blocks
    while _blocks == block:
        new_id()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
