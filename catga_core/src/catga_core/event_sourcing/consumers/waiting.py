"""Wait until consumers have reached a position, also where another process does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from catga_core.errors import CatgaError, ErrorCode
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.progress import ConsumerState, Progress
from catga_core.runtime.waiter import poll_until

_LOOK_SECONDS = 0.05  # between two looks at a checkpoint that another process saves


async def wait_until(
    parts: Callable[[], Sequence[Progress]],
    ports: ConsumerPorts,
    position: int,
    timeout: float,
    subject: str,
) -> None:
    """Return when every part is done up to a position.

    Args:
        parts: Returns the progress of each part, asked for at each look: a rebuild replaces them.
        ports: Where the checkpoints are.
        position: The position of the last event that matters.
        timeout: Real seconds to wait.
        subject: What is waited for, for the error.

    Raises:
        CatgaError: `TIMEOUT`, with the position reached; `HANDLER_FAILED` at once when it has stopped before that position.
    """
    behind: list[Progress] = []

    async def is_reached() -> bool:
        nonlocal behind
        behind = [each for each in parts() if each.position < position]
        if not behind and parts():
            return True
        for each in behind:
            if each.state is ConsumerState.STOPPED:
                msg = f"{subject} will not come to position {position}: {each.reason}"
                raise CatgaError(msg, code=ErrorCode.HANDLER_FAILED, details={"position": each.position})
            if not each.at_work:
                await look(each, ports)
        return False

    async def change(seconds: float) -> None:
        waiting = next((each for each in behind if each.position < position), None)
        if waiting is not None:
            await waiting.changed(seconds)
        elif not behind:
            await asyncio.sleep(seconds)

    if not await poll_until(is_reached, wait=change, every=_LOOK_SECONDS, timeout=timeout):
        raise _late(behind, position, timeout, subject)


async def look(progress: Progress, ports: ConsumerPorts) -> None:
    """Update the progress from a checkpoint that another process saves."""
    known = await ports.checkpoints.load(progress.name)
    if known is not None and known.position > progress.position:
        progress.reached(known.position)


def _late(behind: Sequence[Progress], position: int, timeout: float, subject: str) -> CatgaError:
    where = ", ".join(
        f"{each.state} at position {each.position}{f' ({each.reason})' if each.reason else ''}"
        for each in behind
    )
    msg = (
        f"{subject} has not come to position {position} within {timeout:g} s: it is {where or 'not started'}"
    )
    return CatgaError(msg, code=ErrorCode.TIMEOUT, details={"position": position})
