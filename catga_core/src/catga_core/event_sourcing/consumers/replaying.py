"""Handles parked events once more."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from catga_core.errors import LeaseLostError
from catga_core.event_sourcing.consumers.failures import handle_one, is_the_storages, told
from catga_core.event_sourcing.consumers.letters import event_of, letter_of
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.event_sourcing.consumers.turns import Turns
from catga_core.event_sourcing.consumers.work import Work
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterSource
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import PARKED_FAILED_AGAIN, PARKED_REPLAYED, logger

_LEASE_SECONDS = 60.0


class Replayed(msgspec.Struct, frozen=True):
    """What became of parked events.

    Parameters:
        handled: how many are done, and no longer parked.
        failed: how many failed again, and stay parked.
    """

    handled: int
    failed: int


def parked_by(name: str) -> DeadLetterFilter:
    """Return the filter of what a projection or subscription has parked."""
    return DeadLetterFilter(source=DeadLetterSource.PROJECTION, handler=name)


async def replay_parked(
    ports: FollowerPorts, name: str, work_of: Callable[[DeadLetter], Work | None]
) -> Replayed:
    """Handle every parked event of one name once more, in the order in which they were parked.

    Parameters:
        ports: where they are.
        name: the projection or subscription.
        work_of: what handles a letter's event, `None` for a letter of somebody else.
    """
    handled = failed = 0
    turns = Turns(ports)
    after: str | None = None
    while True:
        page = await ports.dead_letters.find(parked_by(name), after=after)
        for letter in page.letters:
            work = work_of(letter)
            if work is None:
                continue
            outcome = await _replay(ports, work, letter, turns)
            handled += outcome is True
            failed += outcome is False
        after = page.next
        if after is None:
            return Replayed(handled, failed)


async def _replay(ports: FollowerPorts, work: Work, letter: DeadLetter, turns: Turns) -> bool | None:
    """Replay one letter; `None` where somebody else has done so meanwhile."""
    try:
        # The name under which the dead letter queue keeps two from replaying one letter at the same time.
        async with ports.locks.try_hold(f"catga-dead-letter:{letter.id}", lease=_LEASE_SECONDS) as lock:
            if lock is None:
                return None
            return await _replay_alone(ports, work, letter, turns, lock.fencing_token)
    except LeaseLostError as lost:
        _failed(work, letter, lost)
        return False


async def _replay_alone(
    ports: FollowerPorts, work: Work, letter: DeadLetter, turns: Turns, token: int
) -> bool | None:
    noted = await ports.dead_letters.replaying(letter.id)
    if noted is None:
        return None
    recorded = await event_of(letter, ports.log)
    if recorded is None:
        _failed(work, letter, "the event is not in the log")
        return False
    stored = StoredEvent(recorded, ports.types)
    try:
        if work.transactional:

            async def handle() -> None:
                await handle_one(work, stored)
                await ports.dead_letters.remove(letter.id)

            if not await turns.take(work.key, token, handle):
                return None
        else:
            await handle_one(work, stored)
            await ports.dead_letters.remove(letter.id)
    except Exception as error:
        if is_the_storages(error):
            raise
        await ports.dead_letters.add(
            letter_of(
                stored,
                error,
                handler=work.name,
                key=work.key,
                attempts=1,
                now=ports.clock.time(),
                headers=work.letter_headers,
            )
        )
        _failed(work, letter, error)
        return False
    logger().info(PARKED_REPLAYED, **_facts(work, letter))
    return True


def _failed(work: Work, letter: DeadLetter, why: BaseException | str) -> None:
    text = why if isinstance(why, str) else told(why)
    logger().error(PARKED_FAILED_AGAIN, **_facts(work, letter), error=text)


def _facts(work: Work, letter: DeadLetter) -> dict[str, str]:
    return {work.kind: work.name, "message_id": letter.context.message_id, "name": letter.name}
