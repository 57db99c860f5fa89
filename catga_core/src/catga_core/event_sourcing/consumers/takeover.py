"""`Takeover`: a unit of work that no unit of work of a consumer overlaps."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from catga_core.clock import SystemClock
from catga_core.errors import CatgaError
from catga_core.event_sourcing.consumers.failures import may_mean_lost_checkpoint
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.interfaces.checkpoints import Checkpoint
from catga_core.runtime.retry import CONTENTION

_REAL_TIME = (
    SystemClock()
)  # not the container's: the pauses spread those who met, in this process and in others


class _OvertakenError(Exception):
    """The consumer saved its checkpoint in between."""


class Takeover:
    """Runs units of work under a consumer's checkpoint.

    A handler may write what it computes from what it has read, such as a sum; a unit of work beside it would be overwritten.
    The checkpoint is therefore taken over with a higher fencing token: a unit of work of the consumer that runs meanwhile is
    rolled back, and the consumer gets its lease again by itself.

    Args:
        ports: The storage and the checkpoints.
    """

    def __init__(self, ports: ConsumerPorts) -> None:
        self._ports = ports
        self._mine: dict[str, int] = {}

    async def run(self, key: str, token: int, act: Callable[[], Awaitable[None]]) -> bool:
        """Run one unit of work, again where the consumer came between.

        Args:
            key: The consumer's checkpoint.
            token: A fencing token that was granted just now.
            act: Called in the unit of work.

        Returns:
            Whether it was committed; `False` where the checkpoint no longer exists.
        """
        return await CONTENTION.run(
            functools.partial(self._attempt, key, token, act),
            retryable=lambda error: isinstance(error, _OvertakenError),
            clock=_REAL_TIME,
        )

    async def _attempt(self, key: str, token: int, act: Callable[[], Awaitable[None]]) -> bool:
        checkpoints = self._ports.checkpoints
        known = await checkpoints.load(key)
        if known is None:
            return False
        mine = known.fencing_token
        try:
            if self._mine.get(key) != mine:
                mine = max(token, mine + 1)
                await self._save(known, mine)
                self._mine[key] = mine
            async with self._ports.storage.unit_of_work():
                await act()
                await self._save(known, mine)
        except CatgaError as error:
            if not may_mean_lost_checkpoint(error):
                raise
            now = await checkpoints.load(key)
            if now is not None and (now.position, now.fencing_token) == (known.position, mine):
                raise
            raise _OvertakenError from error
        return True

    async def _save(self, known: Checkpoint, token: int) -> None:
        await self._ports.checkpoints.save(
            known.name,
            known.position,
            fencing_token=token,
            expected_position=known.position,
            event_id=known.event_id,
        )
