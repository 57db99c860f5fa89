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
    began = asyncio.get_running_loop().time()

    async def is_reached() -> bool:
        nonlocal behind
        behind = [each for each in parts() if each.position < position]
        if not behind:
            # A position counts only while the log has its event: a log that lost its end gives positions again.
            behind = await off_log([each for each in parts() if not _has_read(each, began)], ports)
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
        if behind:
            await behind[0].changed(seconds)
        else:
            await asyncio.sleep(seconds)

    if not await poll_until(is_reached, wait=change, every=_LOOK_SECONDS, timeout=timeout):
        raise _late(behind, position, timeout, subject)


async def look(progress: Progress, ports: ConsumerPorts) -> None:
    """Update the progress from a checkpoint that another process saves; it may have gone back."""
    if not progress.kept:
        return
    known = await ports.checkpoints.load(progress.name)
    stored = (0, None) if known is None else (known.position, known.event_id)
    if stored != (progress.position, progress.event_id) and not progress.at_work:
        progress.reached(*stored)


async def off_log(parts: Sequence[Progress], ports: ConsumerPorts) -> list[Progress]:
    """Return the parts whose event the log has lost.

    Args:
        parts: The progress of each part.
        ports: The log; it is asked once for parts at the same event.
    """
    known: dict[tuple[int, str | None], bool] = {}
    found: list[Progress] = []
    for each in parts:
        mark = (each.position, each.event_id)
        if mark not in known:
            known[mark] = await ports.reader.contains(*mark)
        if not known[mark]:
            found.append(each)
    return found


def _has_read(part: Progress, since: float) -> bool:
    """Return whether a part has read the log since a time, and so knows that its event is there."""
    return part.at_work and part.read_at >= since


def _late(behind: Sequence[Progress], position: int, timeout: float, subject: str) -> CatgaError:
    where = ", ".join(
        f"{each.state} at position {each.position}{f' ({each.reason})' if each.reason else ''}"
        for each in behind
    )
    msg = (
        f"{subject} has not come to position {position} within {timeout:g} s: it is {where or 'not started'}"
    )
    return CatgaError(msg, code=ErrorCode.TIMEOUT, details={"position": position})
