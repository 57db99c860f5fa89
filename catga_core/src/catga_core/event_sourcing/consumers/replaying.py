"""Replay parked events."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.event_sourcing.consumers.dead_letters import dead_letter_of, event_of
from catga_core.event_sourcing.consumers.failures import describe, is_storage_failure
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.takeover import Takeover
from catga_core.event_sourcing.consumers.work import ConsumerWork
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterSource
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import PARKED_EVENT_FAILED, PARKED_EVENT_REPLAYED, logger
from catga_core.messages.results import CatgaResult, Failure, Success

_LEASE_SECONDS = 60.0
_NOT_IN_LOG = "the event is not in the log"


class Replayed(msgspec.Struct, frozen=True):
    """The outcome of a replay of parked events.

    Args:
        handled: How many were handled and are no longer parked.
        failed: How many failed again and stay parked.
    """

    handled: int
    failed: int


def parked_by(name: str) -> DeadLetterFilter:
    """Return the filter for the parked events of a projection or subscription."""
    return DeadLetterFilter(source=DeadLetterSource.PROJECTION, handler=name)


async def replay_parked(
    ports: ConsumerPorts, name: str, work_of: Callable[[DeadLetter], ConsumerWork | None]
) -> Replayed:
    """Replay every parked event of a consumer, in the order in which they were parked.

    Args:
        ports: The dead letters and the log.
        name: The projection or subscription.
        work_of: Returns the work that handles a dead letter's event, `None` for one of another generation.
    """
    handled = failed = 0
    takeover = Takeover(ports)
    after: str | None = None
    while True:
        page = await ports.dead_letters.find(parked_by(name), after=after)
        for letter in page.letters:
            work = work_of(letter)
            if work is None:
                continue
            outcome = await _replay(ports, work, letter, takeover)
            handled += outcome is True
            failed += outcome is False
        after = page.next
        if after is None:
            return Replayed(handled, failed)


async def _replay(
    ports: ConsumerPorts, work: ConsumerWork, letter: DeadLetter, takeover: Takeover
) -> bool | None:
    """Replay one dead letter; return `None` where another caller has done so meanwhile."""
    try:
        # The name of the lock with which the dead letter queue keeps two callers from replaying one letter.
        async with ports.locks.try_hold(f"catga-dead-letter:{letter.id}", lease=_LEASE_SECONDS) as lock:
            if lock is None:
                return None
            result = await replay_letter(ports, work, letter, takeover, lock.fencing_token)
    except LeaseLostError as lost:
        _failed(work, letter, lost)
        return False
    return None if result is None else isinstance(result, Success)


async def replay_letter(
    ports: ConsumerPorts, work: ConsumerWork, letter: DeadLetter, takeover: Takeover, token: int
) -> CatgaResult[None] | None:
    """Replay one dead letter, whose lock the caller holds.

    Args:
        ports: The dead letters and the log.
        work: Handles the letter's event.
        letter: The letter.
        takeover: Takes the checkpoint over.
        token: The fencing token of the lock.

    Returns:
        The failure, which is in the letter too; `None` where the letter is gone, or another generation is read.
    """
    # Two that replay letters of one consumer at the same time could take over with the same token, and neither would notice.
    async with ports.locks.hold(f"catga-parked:{work.key}", lease=_LEASE_SECONDS):
        return await _replay_alone(ports, work, letter, takeover, token)


async def _replay_alone(
    ports: ConsumerPorts, work: ConsumerWork, letter: DeadLetter, takeover: Takeover, token: int
) -> CatgaResult[None] | None:
    noted = await ports.dead_letters.replaying(letter.id)
    if noted is None:
        return None
    recorded = await event_of(letter, ports.log)
    if recorded is None:
        _failed(work, letter, _NOT_IN_LOG)
        return Failure(_not_in_log(letter))
    stored = StoredEvent(recorded, ports.types)
    try:
        if work.transactional:

            async def handle() -> None:
                await work.handle(stored)
                await ports.dead_letters.remove(letter.id)

            if not await takeover.run(work.key, token, handle):
                return None
        else:
            if not await work.still_wanted():
                # Another generation is read since the letter was found.
                return None
            await work.handle(stored)
            await ports.dead_letters.remove(letter.id)
    except Exception as error:
        if is_storage_failure(error):
            raise
        await ports.dead_letters.add(
            dead_letter_of(
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
        return Failure(_told(error))
    logger().info(PARKED_EVENT_REPLAYED, **_facts(work, letter))
    return Success(None)


async def rehearse_letter(ports: ConsumerPorts, work: ConsumerWork, letter: DeadLetter) -> CatgaResult[None]:
    """Handle a dead letter's event in a unit of work that the caller rolls back; nothing else changes.

    Args:
        ports: The log.
        work: Handles the letter's event.
        letter: The letter.
    """
    recorded = await event_of(letter, ports.log)
    if recorded is None:
        return Failure(_not_in_log(letter))
    try:
        await work.handle(StoredEvent(recorded, ports.types))
    except Exception as error:  # noqa: BLE001 - it is what the dry run tells
        return Failure(_told(error))
    return Success(None)


def _told(error: Exception) -> CatgaError:
    if isinstance(error, CatgaError):
        return error
    told = CatgaError(describe(error), code=ErrorCode.HANDLER_FAILED)
    told.__cause__ = error
    return told


def _not_in_log(letter: DeadLetter) -> CatgaError:
    text = f"The event of the dead letter {letter.id!r} is not in the log. Purge the letter."
    return CatgaError(text, code=ErrorCode.HANDLER_FAILED)


def _failed(work: ConsumerWork, letter: DeadLetter, why: BaseException | str) -> None:
    text = why if isinstance(why, str) else describe(why)
    logger().error(PARKED_EVENT_FAILED, **_facts(work, letter), error=text)


def _facts(work: ConsumerWork, letter: DeadLetter) -> dict[str, str]:
    return {work.kind: work.name, "message_id": letter.context.message_id, "name": letter.name}
