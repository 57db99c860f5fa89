"""Writing what a follower writes as well, without the follower writing in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from catga_core.errors import CatgaError
from catga_core.event_sourcing.consumers.failures import may_tell_of_a_loss
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.runtime.retry import scattered

_PAUSE_SECONDS = 0.005


class Turns:
    """Does pieces of work in units of work that no unit of work of a follower overlaps.

    What is worked out of what was read, as a sum is, would else be written over by whoever has read it at the same time. The
    follower's place is taken from it, as a follower with a later lease would: what it does meanwhile is rolled back, and it
    comes back by itself.

    Parameters:
        ports: where checkpoints and effects are.
    """

    def __init__(self, ports: FollowerPorts) -> None:
        self._ports = ports
        self._mine: dict[str, int] = {}

    async def take(self, key: str, token: int, act: Callable[[], Awaitable[None]]) -> bool:
        """Do a piece of work, again where the follower has come between.

        Parameters:
            key: the follower's checkpoint.
            token: a fencing number that was given just now.
            act: what is done, in a unit of work.

        Returns:
            whether it was done; not where nobody follows under that key any more.
        """
        checkpoints = self._ports.checkpoints
        while True:
            known = await checkpoints.load(key)
            if known is None:
                return False
            mine = known.fencing_token
            try:
                if self._mine.get(key) != mine:
                    mine = max(token, mine + 1)
                    await checkpoints.save(
                        key, known.position, fencing_token=mine, expected_position=known.position
                    )
                    self._mine[key] = mine
                async with self._ports.storage.unit_of_work():
                    await act()
                    await checkpoints.save(
                        key, known.position, fencing_token=mine, expected_position=known.position
                    )
            except CatgaError as error:
                if not may_tell_of_a_loss(error):
                    raise
                now = await checkpoints.load(key)
                if now is not None and (now.position, now.fencing_token) == (known.position, mine):
                    raise
            else:
                return True
            # Real time: it spreads those who met, in this process and in others.
            await asyncio.sleep(scattered(_PAUSE_SECONDS))
