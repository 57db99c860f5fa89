"""Message ids: unique across processes and cheap to make."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

_TAILS = tuple(f"{tail:03x}" for tail in range(4096))
_blocks = 0
_process, _prefix = os.getpid(), os.urandom(10).hex()


def _block(number: int) -> Iterator[str]:
    # 80 random bits name the process, 48 count within it. The head is formatted once for 4096 ids, and each of them is
    # one concatenation in C: a fifth of a format call, a thirtieth of a uuid4.
    # The secrets module does no more than this, and importing it costs a tenth of importing Catga.
    global _blocks, _process, _prefix  # noqa: PLW0603
    if _process != os.getpid():
        _process, _prefix = os.getpid(), os.urandom(10).hex()
    _blocks += 1
    return map(f"{_prefix}{number:09x}".__add__, _TAILS)


# A map and not a generator: threads may ask at the same time, and a generator that runs already raises or, within
# itertools.chain, crashes. Two threads at the end of a block each begin one; the rest of one of the two is not used.
_numbers = itertools.count(int.from_bytes(os.urandom(3)))
new_id: Callable[[], str] = itertools.chain.from_iterable(map(_block, _numbers)).__next__
"""Return a new id: 32 lower-case hexadecimal digits, unique across processes, forks and threads."""


def _after_fork() -> None:
    # A forked child must not go on with its parent's block of ids.
    block = _blocks
    while _blocks == block:
        new_id()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
