"""What is asked after writes, on the same connection, before they are acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import hiredis

from catga_redis.engine.failures import UnconfirmedError, describe

# hiredis declares its argument as a tuple of one.
pack = cast("Callable[[tuple[Any, ...]], bytes]", hiredis.pack_command)
"""Return a command as it is sent."""

_FAR_MILLISECONDS = 10**12  # some thirty years: the key is for its writes, not for its end
# WAIT and WAITAOF count from the last write of their own connection. A repetition writes nothing, and its first write may have
# come over another connection: so something is written in any case. PEXPIRE is allowed while memory is full, SET is not.
_MARK = (
    f"if redis.call('PEXPIRE', KEYS[1], {_FAR_MILLISECONDS}) == 0 then "
    f"redis.call('SET', KEYS[1], '', 'PX', {_FAR_MILLISECONDS}) end"
)


class Confirmation:
    """Asks whether disks and replicas have everything that was written so far, by any connection.

    Args:
        root: What every key begins with.
        disk: Whether the server's own disk must have it.
        replicas: How many replicas must have it.
        timeout: Seconds to wait.
    """

    __slots__ = ("_disk", "_replicas", "packed", "timeout")

    def __init__(self, root: str, *, disk: bool, replicas: int, timeout: float) -> None:
        self._disk = disk
        self._replicas = replicas
        self.timeout: float = timeout
        milliseconds = max(1, int(timeout * 1000))
        wait = ("WAITAOF", int(disk), replicas, milliseconds) if disk else ("WAIT", replicas, milliseconds)
        self.packed: bytes = pack(("EVAL", _MARK, 1, f"{root}sync")) + pack(wait)

    def problem(self, marked: Any, answer: Any) -> UnconfirmedError | None:
        """Return what is missing, `None` for nothing.

        Args:
            marked: The answer to the write before the wait.
            answer: The answer to the wait.
        """
        for each in (marked, answer):
            if isinstance(each, Exception):
                return UnconfirmedError(f"the server cannot tell who has it ({describe(each)})")
        disk, replicas = answer if self._disk else (1, answer)
        if disk < int(self._disk):
            return UnconfirmedError(f"the server's disk has not got it within {self.timeout:g} s")
        if replicas < self._replicas:
            what = f"{replicas} of {self._replicas} replicas have it"
            return UnconfirmedError(f"only {what} after {self.timeout:g} s")
        return None
