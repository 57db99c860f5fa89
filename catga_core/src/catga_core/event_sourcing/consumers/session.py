"""`Session`: a consumer's session while it holds the lease; every step writes effects and checkpoint together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.event_sourcing.consumers.dead_letters import dead_letter_of
from catga_core.event_sourcing.consumers.failures import (
    Halted,
    describe,
    is_retryable,
    is_storage_failure,
    may_mean_lost_checkpoint,
)
from catga_core.event_sourcing.consumers.options import ConsumerOptions, OnFailure
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.progress import ConsumerState, Progress
from catga_core.event_sourcing.consumers.work import ConsumerWork, TooFarAheadError
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import EVENT_PARKED, EVENT_RETRIED, EVENT_SKIPPED, logger
from catga_core.runtime.worker import Worker

Mark: TypeAlias = tuple[int, str | None]
"""A position, and the message id of the event there, `None` where it is not known."""

_BATCH = 100  # events in one unit of work: a commit costs as much as handling a few dozen of them
_ADVANCE = 500  # events that are read in the unit of work of another operation at most


def mark_of(recorded: RecordedEvent) -> Mark:
    """Return the position of an event with its message id."""
    return recorded.position, recorded.record.message_id


class Session:
    """Moves one checkpoint forward, from its claim to the loss of the lease.

    Every save names the position that has to be stored. If another process has moved the checkpoint, with whatever lease, the
    save fails and its unit of work is rolled back: no event takes effect twice in the storage.

    Args:
        ports: What it uses.
        work: Which events it handles, and how.
        options: The consumer's options.
        progress: Where it reports.
        worker: The consumer's worker: waits until it is woken, and knows whether it stops.
        fencing_token: The lease's, 0 where there is none.
    """

    def __init__(
        self,
        ports: ConsumerPorts,
        work: ConsumerWork,
        options: ConsumerOptions,
        progress: Progress,
        worker: Worker,
        fencing_token: int,
    ) -> None:
        self._ports = ports
        self._work = work
        self._options = options
        self._progress = progress
        self._worker = worker
        self._token = fencing_token
        immediate = work.transactional and ports.storage.capabilities.immediate
        self._batch_size = options.batch_size or (_BATCH if immediate else 1)
        self._saved = 0
        self._position = 0
        self._event_id: str | None = None
        # Where a checkpoint was moved to in the unit of work of another operation, until that is committed.
        self._moving: Mark = (0, None)

    @property
    def event_id(self) -> str | None:
        """The message id of the event at `position`, `None` where it is not known."""
        return self._event_id

    @property
    def position(self) -> int:
        """The last position that is done."""
        return self._position

    def is_one_batch(self, events: int) -> bool:
        """Return whether one unit of work may handle so many events."""
        # Where a unit of work does not see what is written in it, an event must not come after another one.
        immediate = self._ports.storage.capabilities.immediate
        return events <= (self._batch_size if immediate else min(self._batch_size, 1))

    @property
    def unsaved(self) -> int:
        """Positions passed over since the checkpoint was saved."""
        return self._position - self._saved

    async def claim(self) -> None:
        """Take the checkpoint over, so that its former owner can no longer save it; create it where there is none."""
        work, progress = self._work, self._progress
        if not work.kept:
            position = await work.start()
            self._reach((position, progress.event_id if position == progress.position else None))
            return
        position, event_id = await self._claimed()
        self._saved = position
        work.losses.found(work.key, position)
        self._reach((position, event_id))

    async def _claimed(self) -> Mark:
        work = self._work
        try:
            async with self._ports.storage.unit_of_work():
                known = await self._ports.checkpoints.load(work.key)
                self._saved = 0 if known is None else known.position
                mark = (await work.start(), None) if known is None else (known.position, known.event_id)
                # Whatever was known before the wait for the lease: another process may have finished the work meanwhile.
                await work.confirm()
                await self._save(mark, confirmed=True)
                if known is None:
                    await work.begin()
        except CatgaError as error:
            if error.code != ErrorCode.CONFLICT:
                raise
            raise self._lost() from error
        return mark

    def recognize(self, event_id: str | None) -> None:
        """Note the message id of the event at `position`, where it was not known."""
        if self._event_id is None and event_id is not None:
            self._reach((self._position, event_id))

    async def move(self, position: int, event_id: str | None) -> None:
        """Continue after another position: the log has lost the event at this one."""
        mark = (position, event_id)
        if self._work.kept:
            async with self._ports.storage.unit_of_work():
                await self._save(mark)
            self._was_saved(position)
        self._reach(mark)

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(f"the checkpoint of {self._work.subject}", "another process has moved it")

    def pass_over(self, until: Mark) -> None:
        """Pass over events that are not wanted; the checkpoint is saved later."""
        self._reach(until)

    async def flush(self) -> None:
        """Save the checkpoint if positions were passed over since the last save."""
        if not (self.unsaved and self._work.kept):
            return
        # Events that were passed over leave nothing else: a log that lost them meanwhile must not be passed over as well.
        if await self._ports.reader.contains(self._position, self._event_id):
            async with self._ports.storage.unit_of_work():
                await self._save((self._position, self._event_id))
            self._was_saved(self._position)

    async def apply(self, events: Sequence[StoredEvent], until: Mark) -> None:
        """Handle events and save the checkpoint; end early when the worker stops.

        Args:
            events: The events that are wanted, one or more.
            until: The position that is done with the last of them, and the message id of the event there.

        Raises:
            Halted: An event failed, and the policy is to stop.
            LeaseLostError: Another process has the checkpoint.
        """
        size = self._batch_size
        for begin in range(0, len(events), size):
            chunk = events[begin : begin + size]
            end = until if begin + size >= len(events) else mark_of(chunk[-1].recorded)
            if self._work.transactional:
                await self._together(chunk, end)
            else:
                await self._in_turn(chunk, end)
            if self._worker.stopping:
                return

    async def advance(self, until: int) -> None:
        """Handle the events up to a position in the surrounding unit of work; see `CheckpointMover`."""
        page = await self._ports.log.read_all(after=self._position, limit=_ADVANCE + 1)
        page = [each for each in page if each.position <= until]
        wanted = [each for each in page if self._work.wants(each)]
        if len(page) > _ADVANCE or not self.is_one_batch(len(wanted)):
            raise TooFarAheadError
        for recorded in wanted:
            await self._work.handle(StoredEvent(recorded, self._ports.types))
        if until == self._position:
            self._moving = (until, self._event_id)
        else:
            self._moving = mark_of(page[-1]) if page and page[-1].position == until else (until, None)
        # Not confirmed: the caller has just confirmed the work in this unit of work.
        await self._save(self._moving, confirmed=True)

    def advanced(self, until: int) -> None:
        """Note that the unit of work around an `advance` is committed."""
        self._was_saved(until)
        self._reach(self._moving)

    # --- with a unit of work ---

    async def _together(self, chunk: Sequence[StoredEvent], end: Mark) -> None:
        """Handle events in one unit of work; if that fails, one by one."""
        try:
            await self._transact(chunk, end)
        except Exception as raised:  # noqa: BLE001 - judged below
            await self._blame(raised)
            error = raised
        else:
            return
        # Outside of the except block: an event's own failure must not have that of the batch as its context.
        for number, stored in enumerate(chunk):
            done = end if number + 1 == len(chunk) else mark_of(stored.recorded)
            await self._alone(stored, done, error if len(chunk) == 1 else None)
            if self._worker.stopping:
                return

    async def _transact(self, events: Sequence[StoredEvent], end: Mark) -> None:
        work, worker = self._work, self._worker
        done, count = end, len(events)
        async with self._ports.storage.unit_of_work():
            for number, stored in enumerate(events):
                if worker.stopping and number:
                    done, count = mark_of(events[number - 1].recorded), number
                    break
                await work.handle(stored)
            await self._save(done)
        self._was_saved(done[0])
        self._progress.handled += count
        self._reach(done)

    # --- without one ---

    async def _in_turn(self, chunk: Sequence[StoredEvent], end: Mark) -> None:
        """Handle events one by one, then save: after a crash all of them are handled again."""
        try:
            for number, stored in enumerate(chunk):
                done = end if number + 1 == len(chunk) else mark_of(stored.recorded)
                await self._alone(stored, done, None)
                if self._worker.stopping:
                    break
        except Halted:
            # What was handled before is not handled again after a resume.
            await self.flush()
            raise
        await self.flush()

    async def _handle_only(self, stored: StoredEvent, done: Mark) -> None:
        await self._work.handle(stored)
        self._progress.handled += 1
        self._reach(done)

    # --- one event ---

    async def _alone(self, stored: StoredEvent, done: Mark, failed: Exception | None) -> None:
        """Handle one event, with retries; after the last attempt, apply the failure policy."""
        retry, error = self._options.retry, failed
        attempts = 0 if failed is None else 1
        while True:
            if error is not None:
                if not retry.allows(attempts) or not is_retryable(error):
                    await self._give_up(stored, done, error, attempts)
                    return
                await self._pause(stored, error, attempts)
                if self._worker.stopping:
                    return
            attempts += 1
            try:
                if self._work.transactional:
                    await self._transact((stored,), done)
                else:
                    await self._handle_only(stored, done)
            except Exception as raised:  # noqa: BLE001 - judged below
                await self._blame(raised)
                error = raised
            else:
                if error is not None:
                    self._progress.change(ConsumerState.CATCHING_UP)
                return

    async def _pause(self, stored: StoredEvent, error: Exception, attempts: int) -> None:
        work = self._work
        logger().warning(
            EVENT_RETRIED[work.kind],
            **{work.kind: work.name},
            position=stored.position,
            name=stored.name,
            attempts=attempts,
            error=describe(error),
        )
        self._progress.change(
            ConsumerState.RETRYING, f"{stored.name} at position {stored.position} failed: {describe(error)}"
        )
        delay = self._options.retry.delay(attempts)
        await self._worker.wait(self._ports.clock.sleep(delay))

    async def _give_up(self, stored: StoredEvent, done: Mark, error: Exception, attempts: int) -> None:
        work, progress = self._work, self._progress
        if self._options.on_failure is OnFailure.STOP:
            raise Halted(stored, error) from error
        facts = {
            work.kind: work.name,
            "position": stored.position,
            "name": stored.name,
            "attempts": attempts,
            "error": describe(error),
        }
        async with self._ports.storage.unit_of_work():
            if self._options.on_failure is OnFailure.PARK:
                await self._ports.dead_letters.add(self._dead_letter(stored, error, attempts))
            await self._save(done)
        self._was_saved(done[0])
        self._reach(done)
        if self._options.on_failure is OnFailure.PARK:
            progress.parked += 1
            logger().error(EVENT_PARKED, **facts)
        else:
            progress.skipped += 1
            logger().error(EVENT_SKIPPED, **facts)
        progress.change(ConsumerState.CATCHING_UP)

    def _dead_letter(self, stored: StoredEvent, error: Exception, attempts: int) -> DeadLetter:
        work = self._work
        return dead_letter_of(
            stored,
            error,
            handler=work.name,
            key=work.key,
            attempts=attempts,
            now=self._ports.clock.time(),
            headers=work.letter_headers,
        )

    async def _blame(self, error: Exception) -> None:
        """Return if the event is to blame for an error; else raise."""
        if is_storage_failure(error):
            raise error
        if self._work.kept and may_mean_lost_checkpoint(error) and await self._is_lost():
            raise self._lost() from error

    async def _is_lost(self) -> bool:
        """Return whether another process has moved the checkpoint, or deleted it."""
        known = await self._ports.checkpoints.load(self._work.key)
        if known is None or known.position != self._saved or known.fencing_token > self._token:
            return True
        # The first save may have been refused because the work is no longer wanted, which the checkpoint does not show.
        return not self._saved and not await self._work.still_wanted()

    async def _save(self, mark: Mark, *, confirmed: bool = False) -> None:
        if not self._work.kept:
            return
        if not (self._saved or confirmed):
            await self._work.confirm()
        position, event_id = mark
        await self._ports.checkpoints.save(
            self._work.key,
            position,
            fencing_token=self._token,
            expected_position=self._saved,
            event_id=event_id,
        )

    def _was_saved(self, position: int) -> None:
        self._saved = position
        if self._work.kept:
            self._work.losses.saved[self._work.key] = position

    def _reach(self, mark: Mark) -> None:
        self._position, self._event_id = mark
        self._progress.reached(*mark)
