"""`Consumer`: reads the log while it holds its lease, and comes back after every failure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from catga_core.errors import LeaseLostError
from catga_core.event_sourcing.consumers.failures import Halted, describe, log_interruption
from catga_core.event_sourcing.consumers.log_loss import OffLog, restored_with_log, where_to_continue
from catga_core.event_sourcing.consumers.options import ConsumerOptions, OnLogLoss
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.progress import ConsumerState, Progress
from catga_core.event_sourcing.consumers.session import Session, mark_of
from catga_core.event_sourcing.consumers.work import ConsumerWork
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import (
    CONSUMER_FAILED,
    CONSUMER_LEASE_LOST,
    CONSUMER_STARTED,
    CONSUMER_STOPPED,
    logger,
    traceback_of,
)
from catga_core.runtime.deliveries import delivering
from catga_core.runtime.log_reader import LogEndLost, LogPage
from catga_core.runtime.worker import Worker

_FLUSH_POSITIONS = 1_000  # passed over without a save at most: so many are looked at again after a crash
_REST = 100  # events up to a limit with which it is tried to go beyond it
_LIMIT_SECONDS = 0.05  # between two looks whether the limit has moved
_FLUSH_SECONDS = 1.0  # how long others may not see that an idle consumer has passed over events


class Consumer:
    """Reads the log for one piece of work: with a lease and a checkpoint, restarted with growing delays.

    Args:
        ports: What it uses.
        work: Which events it handles, and how.
        options: The consumer's options.
    """

    def __init__(self, ports: ConsumerPorts, work: ConsumerWork, options: ConsumerOptions) -> None:
        self._ports = ports
        self._work = work
        self._options = options
        self._waits_for_lock = False
        self._gives_way = False
        self._accepts_loss = False
        self._worker = Worker(
            work.key,
            self._turn,
            every=None,
            clock=ports.clock,
            retry=msgspec.structs.replace(options.retry, max_attempts=None),
            on_error=self._failed,
            on_end=self._ended,
        )
        self.done: bool = False
        self.progress: Progress = Progress(work.key, kept=work.kept)

    def start(self) -> None:
        """Begin in the background; it ends when it is stopped or no longer wanted."""
        self.progress.change(ConsumerState.STARTING)
        self._worker.start()

    async def stop(self) -> None:
        """End after the unit of work that runs; if this call is cancelled, cancel that too."""
        await self._worker.stop(cancel=self._waits_for_lock)

    def give_way(self) -> None:
        """Release the lease for another process after the unit of work that runs, then wait for one again."""
        self._gives_way = True
        self._worker.wake()

    def resume(self) -> None:
        """Go on after what stopped it, or retry now instead of later."""
        if self.progress.state is ConsumerState.STOPPED:
            # From now on, a caller that waits for a position waits for the next attempt.
            self.progress.change(ConsumerState.STARTING)
        self._worker.wake()

    def return_to_work(self) -> None:
        """Try now instead of later to get a lost lease again; a consumer that has stopped stays so."""
        if self.progress.state is ConsumerState.STANDBY:
            self._worker.wake()

    # --- one turn: one session ---

    async def _turn(self) -> bool:
        if not await self._work.still_wanted():
            self.progress.change(ConsumerState.SUPERSEDED, self._work.superseded)
            await self._worker.stop()
            return True
        try:
            await self._with_lease()
        except Halted as halted:
            await self._halt(halted)
        except OffLog as off:
            await self._stay_off(off)
        return True

    async def _with_lease(self) -> None:
        work = self._work
        if not work.kept:
            await self._consume(0)
            return
        self.progress.change(ConsumerState.STANDBY)
        if work.leases is not None:
            await self._worker.wait(work.leases.free())
        if self._worker.stopping:
            return
        self._gives_way = False
        self._waits_for_lock = True
        try:
            async with self._ports.locks.hold(work.key, lease=self._options.lease_seconds) as lock:
                self._waits_for_lock = False
                if work.leases is None:
                    await self._consume(lock.fencing_token)
                elif work.leases.take(work.key):
                    try:
                        await self._consume(lock.fencing_token)
                    finally:
                        work.leases.give_back(work.key)
        finally:
            self._waits_for_lock = False

    async def _consume(self, fencing_token: int) -> None:
        worker, work, progress = self._worker, self._work, self.progress
        if not await work.still_wanted():
            # The process that had the lease may have finished the work: the next turn ends this consumer.
            return
        session = Session(self._ports, work, self._options, progress, worker, fencing_token)
        await session.claim()
        logger().info(CONSUMER_STARTED[work.kind], **{work.kind: work.name}, position=session.position)
        progress.change(ConsumerState.CATCHING_UP)
        while not (worker.stopping or self._gives_way):
            if not await self._step(session):
                return
        await session.flush()

    async def _step(self, session: Session) -> bool:
        """Handle one page, or wait for one; return whether there may be more to do."""
        worker, work = self._worker, self._work
        limit = None if work.limit is None else await work.limit()
        try:
            page = await self._read(session)
        except LogEndLost as lost:
            return await self._lost_end(session, lost)
        events = page.events
        if limit is not None:
            events = [each for each in events if each.position <= limit]
            goes_on = await self._near_limit(session, events)
            if goes_on is not None:
                return goes_on
        if events:
            await self._page(session, events, page.head)
        if worker.failures:
            worker.progressed()
        if limit is None:
            if page.at_head and not worker.stopping:
                await self._idle(session)
        elif not events:
            # Another consumer moves the limit, in its own time.
            await worker.wait(timeout=_LIMIT_SECONDS)
        return True

    async def _read(self, session: Session) -> LogPage:
        """Return what follows the session's position, while the log still has the event there."""
        page = await self._ports.reader.read(session.position, session.event_id)
        if page.event_id is None and page.head < session.position:
            raise LogEndLost(session.position, page.head)
        session.recognize(page.event_id)
        self.progress.read_at = page.read_at
        return page

    async def _near_limit(self, session: Session, events: Sequence[RecordedEvent]) -> bool | None:
        """Try to go beyond the limit; return whether to go on after that, `None` where the limit stays."""
        # The rest is done together with what comes then: where events keep coming, it may never be nothing.
        if len(events) > _REST or not self._is_one_batch(session, events):
            return None
        if await self._at_limit(session):
            return not self._work.ends_at_limit
        # Where what it is to replace was replaced meanwhile, the next turn ends this consumer.
        return None if await self._work.still_wanted() else False

    async def _page(self, session: Session, page: Sequence[RecordedEvent], head: int) -> None:
        progress, until = self.progress, mark_of(page[-1])
        progress.next_recorded_at = page[0].record.recorded_at
        progress.saw_head(max(until[0], head))
        chosen = [StoredEvent(each, self._ports.types) for each in page if self._work.wants(each)]
        if chosen:
            await delivering(session.apply(chosen, until))
        else:
            session.pass_over(until)
            if session.unsaved >= _FLUSH_POSITIONS:
                await session.flush()
        progress.saw_head(progress.head)

    def _is_one_batch(self, session: Session, events: Sequence[RecordedEvent]) -> bool:
        return session.is_one_batch(len(events)) or session.is_one_batch(sum(map(self._work.wants, events)))

    async def _at_limit(self, session: Session) -> bool:
        """Try to go on without a limit; return whether it worked."""
        at_limit = self._work.at_limit
        if at_limit is None:
            return False
        await session.flush()
        return await at_limit(session)

    async def _idle(self, session: Session) -> None:
        progress, reader = self.progress, self._ports.reader
        # Reported once it is true: a waiter that is woken must find the checkpoint where it looks for it, soon.
        if progress.state is not ConsumerState.RUNNING:
            progress.change(ConsumerState.RUNNING)
        progress.saw_head(session.position)
        poll_seconds = self._options.poll_seconds
        unsaved = session.unsaved and self._work.kept
        await self._worker.wait(
            reader.wait(session.position, poll_seconds=poll_seconds),
            timeout=min(poll_seconds, _FLUSH_SECONDS) if unsaved else None,
        )
        if unsaved and not self._worker.stopping:
            await session.flush()

    # --- a log that lost its end ---

    async def _lost_end(self, session: Session, lost: LogEndLost) -> bool:
        """Continue from the checkpoint if that went back with the log, else by the policy; return whether to go on."""
        ports, work = self._ports, self._work
        if work.kept:
            known = await ports.checkpoints.load(work.key)
            if await restored_with_log(ports, known, lost, session.event_id):
                position = 0 if known is None else known.position
                work.losses.report(lost.reason, f"continues from its checkpoint, at position {position}")
                work.losses.saved[work.key] = position
                work.continued(position)
                return False
        policy = OnLogLoss.CONTINUE if self._accepts_loss else work.on_log_loss()
        self._accepts_loss = False
        if policy is OnLogLoss.STOP:
            work.losses.report(lost.reason, "has stopped")
            raise OffLog(lost.reason, waits=True)
        if policy is OnLogLoss.REBUILD and work.rebuild is not None:
            if not await work.rebuild():
                work.losses.report(lost.reason, "waits until its rebuild is done")
                raise OffLog(f"{lost.reason}: a rebuild replaces it", waits=False)
            work.losses.report(lost.reason, "begins again at the first event")
            work.losses.saved[work.key] = 0
            return False
        position = await where_to_continue(ports, lost)
        page = await ports.log.read_all(after=max(position - 1, 0), limit=1) if position else []
        await session.move(position, page[0].record.message_id if page else None)
        work.continued(position)
        work.losses.report(lost.reason, f"continues after position {position}")
        return True

    async def _stay_off(self, off: OffLog) -> None:
        # One that a rebuild replaces has not ended: who waits for a position waits for the rebuild.
        state = ConsumerState.STOPPED if off.waits else ConsumerState.RETRYING
        self.progress.change(state, off.reason)
        await self._worker.wait()
        self._accepts_loss = off.waits

    # --- ends and failures ---

    async def _halt(self, halted: Halted) -> None:
        work, stored = self._work, halted.stored
        logger().error(
            CONSUMER_STOPPED[work.kind],
            **{work.kind: work.name},
            position=stored.position,
            name=stored.name,
            error=describe(halted.error),
            stack=traceback_of(halted.error),
        )
        self.progress.next_recorded_at = stored.recorded.record.recorded_at
        self.progress.change(
            ConsumerState.STOPPED,
            f"{stored.name} at position {stored.position} of stream {stored.stream_id!r} failed: {describe(halted.error)}",
        )
        await self._worker.wait()

    def _failed(self, error: Exception, _delay: float) -> None:
        work = self._work
        if isinstance(error, LeaseLostError):
            logger().warning(CONSUMER_LEASE_LOST[work.kind], **{work.kind: work.name}, error=error.message)
            self.progress.change(ConsumerState.STANDBY, describe(error))
            return
        log_interruption(CONSUMER_FAILED[work.kind], error, **{work.kind: work.name})
        self.progress.change(ConsumerState.RETRYING, describe(error))

    async def _ended(self) -> None:
        self.done = True
        if self.progress.state is not ConsumerState.SUPERSEDED:
            self.progress.change(ConsumerState.ENDED)
