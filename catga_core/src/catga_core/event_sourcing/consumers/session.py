"""One owner's time with a follower's place: every step moves effects and checkpoint together."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.event_sourcing.consumers.control import Control
from catga_core.event_sourcing.consumers.failures import (
    Halted,
    handle_one,
    is_the_storages,
    may_go_away,
    may_tell_of_a_loss,
    told,
)
from catga_core.event_sourcing.consumers.letters import letter_of
from catga_core.event_sourcing.consumers.options import FollowOptions, OnFailure
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.event_sourcing.consumers.progress import FollowerState, Progress
from catga_core.event_sourcing.consumers.work import TooFarAheadError, Work
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import EVENT_PARKED, EVENT_SKIPPED, FOLLOWER_RETRIES, logger
from catga_core.runtime.retry import backoff

_BATCH = 100  # events in one unit of work: a commit costs as much as handling a few dozen


class Session:
    """Moves one checkpoint forward, from the claim to the loss of the lease.

    Every save tells the position that has to be there. Whoever else has moved the checkpoint, with whatever lease,
    makes the save fail, and what was done with it is rolled back: no event takes effect twice in the storage.

    Parameters:
        ports: what it uses.
        work: what is to be done.
        options: how.
        progress: where it tells.
        control: how it is told to stop.
        fencing_token: the lease's, 0 where there is none.
    """

    def __init__(
        self,
        ports: FollowerPorts,
        work: Work,
        options: FollowOptions,
        progress: Progress,
        control: Control,
        fencing_token: int,
    ) -> None:
        self._ports = ports
        self._work = work
        self._options = options
        self._progress = progress
        self._control = control
        self._token = fencing_token
        immediate = work.transactional and ports.storage.capabilities.immediate
        self._batch_size = options.batch_size or (_BATCH if immediate else 1)
        self._saved = 0
        self._position = 0

    @property
    def position(self) -> int:
        """The last position it is done with."""
        return self._position

    @property
    def unsaved(self) -> int:
        """How many positions were passed over since the checkpoint was saved."""
        return self._position - self._saved

    async def claim(self) -> None:
        """Take the checkpoint over, so that a former owner can no longer save it; make it where there is none."""
        work = self._work
        if not work.kept:
            self._position = await work.start()
        else:
            self._saved = self._position = await self._claimed()
        self._progress.reached(self._position)

    async def _claimed(self) -> int:
        work = self._work
        try:
            async with self._ports.storage.unit_of_work():
                known = await self._ports.checkpoints.load(work.key)
                self._saved = 0 if known is None else known.position
                position = self._saved if known is not None else await work.start()
                await self._save(position)
                if known is None:
                    await work.begin()
        except CatgaError as error:
            if error.code != ErrorCode.CONFLICT:
                raise
            raise self._lost() from error
        return position

    def _lost(self) -> LeaseLostError:
        return LeaseLostError(f"the checkpoint of {self._work.thing}", "another has moved it")

    def pass_over(self, until: int) -> None:
        """Be done up to a position without any event that is wanted; the checkpoint is saved with a later one."""
        self._reach(until)

    async def flush(self) -> None:
        """Save the checkpoint where positions were passed over since."""
        if self.unsaved and self._work.kept:
            async with self._ports.storage.unit_of_work():
                await self._save(self._position)
            self._saved = self._position

    async def apply(self, events: Sequence[StoredEvent], until: int) -> None:
        """Handle events and save the checkpoint; ends early where it is told to stop.

        Parameters:
            events: those that are wanted, one or more.
            until: the position that is done with the last of them.

        Raises:
            Halted: when one fails and the policy is to stop.
            LeaseLostError: when another one follows now.
        """
        size = self._batch_size
        for begin in range(0, len(events), size):
            chunk = events[begin : begin + size]
            end = until if begin + size >= len(events) else chunk[-1].position
            if self._work.transactional:
                await self._together(chunk, end)
            else:
                await self._in_turn(chunk, end)
            if self._control.is_stopping():
                return

    async def advance(self, until: int) -> None:
        """Handle the events up to a position in the surrounding unit of work; see `Place`."""
        page = await self._ports.log.read_all(after=self._position, limit=_BATCH + 1)
        page = [each for each in page if each.position <= until]
        wanted = [each for each in page if self._work.wants(each)]
        # Where a unit of work does not see what is written in it, an event must not come after another one.
        if len(page) > _BATCH or len(wanted) > (_BATCH if self._ports.storage.capabilities.immediate else 1):
            raise TooFarAheadError
        for recorded in wanted:
            await handle_one(self._work, StoredEvent(recorded, self._ports.types))
        # Not confirmed: whoever calls this has said just now what is wanted.
        await self._save(until, confirmed=True)

    def advanced(self, until: int) -> None:
        """Note that a unit of work with an `advance` is committed."""
        self._saved = until
        self._reach(until)

    # --- with a unit of work ---

    async def _together(self, chunk: Sequence[StoredEvent], end: int) -> None:
        """Handle many in one unit of work; where that fails, one by one."""
        try:
            await self._transact(chunk, end)
        except Exception as raised:  # noqa: BLE001 - looked at below; cancellation is none
            await self._blame(raised)
            error = raised
        else:
            return
        # Not inside of the except: what an event raises alone would have the failure of all of them as its context.
        for number, stored in enumerate(chunk):
            done = end if number + 1 == len(chunk) else stored.position
            await self._alone(stored, done, error if len(chunk) == 1 else None)
            if self._control.is_stopping():
                return

    async def _transact(self, events: Sequence[StoredEvent], end: int) -> None:
        work, control = self._work, self._control
        done, count = end, len(events)
        async with self._ports.storage.unit_of_work():
            for number, stored in enumerate(events):
                if control.is_stopping() and number:
                    done, count = events[number - 1].position, number
                    break
                await handle_one(work, stored)
            await self._save(done)
        self._saved = done
        self._progress.handled += count
        self._reach(done)

    # --- without one ---

    async def _in_turn(self, chunk: Sequence[StoredEvent], end: int) -> None:
        """Handle one after the other, then save: after a crash the chunk's events are handled again."""
        try:
            for number, stored in enumerate(chunk):
                await self._alone(stored, end if number + 1 == len(chunk) else stored.position, None)
                if self._control.is_stopping():
                    break
        except Halted:
            # What was handled before is noted, lest it is handled again when it is resumed.
            await self.flush()
            raise
        await self.flush()

    async def _handle_only(self, stored: StoredEvent, done: int) -> None:
        await handle_one(self._work, stored)
        self._progress.handled += 1
        self._reach(done)

    # --- one event ---

    async def _alone(self, stored: StoredEvent, done: int, failed: Exception | None) -> None:
        """Handle one event, as often as the policy has it; then do with it what the policy says."""
        options, error = self._options, failed
        attempts = 0 if failed is None else 1
        while True:
            if error is not None:
                if attempts >= options.attempts or not may_go_away(error):
                    await self._give_up(stored, done, error, attempts)
                    return
                await self._pause(stored, error, attempts)
                if self._control.is_stopping():
                    return
            attempts += 1
            try:
                if self._work.transactional:
                    await self._transact((stored,), done)
                else:
                    await self._handle_only(stored, done)
            except Exception as raised:  # noqa: BLE001 - looked at below; cancellation is none
                await self._blame(raised)
                error = raised
            else:
                if error is not None:
                    self._progress.change(FollowerState.CATCHING_UP)
                return

    async def _pause(self, stored: StoredEvent, error: Exception, attempts: int) -> None:
        options, work = self._options, self._work
        logger().warning(
            FOLLOWER_RETRIES[work.kind],
            **{work.kind: work.name},
            position=stored.position,
            name=stored.name,
            attempts=attempts,
            error=told(error),
        )
        self._progress.change(
            FollowerState.RETRYING, f"{stored.name} at position {stored.position} failed: {told(error)}"
        )
        seconds = backoff(
            attempts, first=options.retry_delay_seconds, longest=options.max_retry_delay_seconds
        )
        await self._control.pause(seconds, self._ports.clock)

    async def _give_up(self, stored: StoredEvent, done: int, error: Exception, attempts: int) -> None:
        work, progress = self._work, self._progress
        if self._options.on_failure is OnFailure.STOP:
            raise Halted(stored, error) from error
        facts = {
            work.kind: work.name,
            "position": stored.position,
            "name": stored.name,
            "attempts": attempts,
            "error": told(error),
        }
        async with self._ports.storage.unit_of_work():
            if self._options.on_failure is OnFailure.PARK:
                await self._ports.dead_letters.add(self._letter(stored, error, attempts))
            await self._save(done)
        self._saved = done
        self._reach(done)
        if self._options.on_failure is OnFailure.PARK:
            progress.parked += 1
            logger().error(EVENT_PARKED, **facts)
        else:
            progress.skipped += 1
            logger().error(EVENT_SKIPPED, **facts)
        progress.change(FollowerState.CATCHING_UP)

    def _letter(self, stored: StoredEvent, error: Exception, attempts: int) -> DeadLetter:
        work = self._work
        return letter_of(
            stored,
            error,
            handler=work.name,
            key=work.key,
            attempts=attempts,
            now=self._ports.clock.time(),
            headers=work.letter_headers,
        )

    async def _blame(self, error: Exception) -> None:
        """Return when the event is to blame for an error; raise where it is not."""
        if is_the_storages(error):
            raise error
        if self._work.kept and may_tell_of_a_loss(error) and await self._is_lost():
            raise self._lost() from error

    async def _is_lost(self) -> bool:
        """Tell whether another one has moved the checkpoint, or taken it away."""
        known = await self._ports.checkpoints.load(self._work.key)
        if known is None or known.position != self._saved or known.fencing_token > self._token:
            return True
        # What has kept the first save back may be that the work is not wanted any more; nothing here would tell.
        return not self._saved and not await self._work.still_wanted()

    async def _save(self, position: int, *, confirmed: bool = False) -> None:
        if not self._work.kept:
            return
        if not (self._saved or confirmed):
            await self._work.confirm()
        await self._ports.checkpoints.save(
            self._work.key, position, fencing_token=self._token, expected_position=self._saved
        )

    def _reach(self, position: int) -> None:
        self._position = position
        self._progress.reached(position)
