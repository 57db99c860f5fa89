"""`Follower`: goes through the log while it owns its place, and comes back whatever happens."""

from __future__ import annotations

import asyncio

from catga_core.errors import LeaseLostError
from catga_core.event_sourcing.consumers.control import Control
from catga_core.event_sourcing.consumers.failures import Halted, told
from catga_core.event_sourcing.consumers.options import FollowOptions
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.event_sourcing.consumers.progress import FollowerState, Progress
from catga_core.event_sourcing.consumers.session import Session
from catga_core.event_sourcing.consumers.work import Work
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.interfaces.event_store import StoredEvent
from catga_core.log import (
    FOLLOWER_FAILED,
    FOLLOWER_LOST,
    FOLLOWER_STARTED,
    FOLLOWER_STOPPED,
    logger,
    traceback_of,
)
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself
from catga_core.runtime.retry import backoff, scattered

_PAGE = 500  # events: what is passed over costs no unit of work, so more are read than are handled in one
_FLUSH_POSITIONS = 1_000  # passed over without a save at most: so many are looked at again after a crash
_REST = 100  # events up to a limit with which it is tried to go beyond
_LIMIT_SECONDS = 0.05  # between two looks whether the limit has moved
_FLUSH_SECONDS = 1.0  # how long others may not see that an idle follower has passed over events


class Follower:
    """Follows the log for one piece of work: leased, with a checkpoint, restarted with growing pauses.

    Parameters:
        ports: what it uses.
        work: what is to be done.
        options: how.
    """

    def __init__(self, ports: FollowerPorts, work: Work, options: FollowOptions) -> None:
        self._ports = ports
        self._work = work
        self._options = options
        self._failures = 0
        self._waits_for_lock = False
        self._gives_way = False
        self._task: asyncio.Task[None] | None = None
        self.control: Control = Control()
        self.progress: Progress = Progress(work.key)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._task is not None and self._task.done()

    def start(self) -> None:
        """Begin in the background; it ends when it is stopped or not wanted any more."""
        self._task = asyncio.create_task(self.run(), name=f"catga {self._work.thing}")

    async def stop(self) -> None:
        """End after the unit of work that is under way; cancelled meanwhile, cancel that."""
        self.control.stop()
        task = self._task
        if task is None:
            return
        if self._waits_for_lock:
            task.cancel()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=1.0)
            raise

    def give_way(self) -> None:
        """Leave its place to another process after the unit of work that is under way; wait for one again."""
        self._gives_way = True
        self.control.wake()

    def resume(self) -> None:
        """Go on after an event that stopped it, or try again now instead of later."""
        self.control.wake()

    def return_to_work(self) -> None:
        """Try now instead of later to get a place again that was lost; one that has stopped stays so."""
        if self.progress.state is FollowerState.STANDBY:
            self.control.wake()

    async def run(self) -> None:
        """Follow until stopped or not wanted any more."""
        control, work, progress = self.control, self._work, self.progress
        while not control.is_stopping():
            try:
                if not await work.still_wanted():
                    progress.change(FollowerState.SUPERSEDED, "another generation is read")
                    return
                await self._once()
            except Halted as halted:
                await self._halt(halted)
            except LeaseLostError as lost:
                logger().warning(FOLLOWER_LOST[work.kind], **{work.kind: work.name}, error=lost.message)
                await self._fail(FollowerState.STANDBY, lost)
            except asyncio.CancelledError as error:
                if being_cancelled():
                    progress.change(FollowerState.ENDED)
                    raise
                await self._fail(
                    FollowerState.RETRYING, cancelled_itself(work.name).with_traceback(error.__traceback__)
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, the follower goes on, and tells
                logger().error(
                    FOLLOWER_FAILED[work.kind],
                    **{work.kind: work.name},
                    error=told(error),
                    stack=traceback_of(error),
                )
                await self._fail(FollowerState.RETRYING, error)
        progress.change(FollowerState.ENDED)

    # --- inside ---

    async def _once(self) -> None:
        work = self._work
        if not work.kept:
            await self._follow(0)
            return
        self.progress.change(FollowerState.STANDBY)
        if work.quota is not None:
            await self.control.wait_for(work.quota.free())
        if self.control.is_stopping():
            return
        self._gives_way = False
        self._waits_for_lock = True
        try:
            async with self._ports.locks.hold(work.key, lease=self._options.lease_seconds) as lock:
                self._waits_for_lock = False
                if work.quota is None:
                    await self._follow(lock.fencing_token)
                elif work.quota.take(work.key):
                    try:
                        await self._follow(lock.fencing_token)
                    finally:
                        work.quota.give_back(work.key)
        finally:
            self._waits_for_lock = False

    async def _follow(self, fencing_token: int) -> None:
        control, work, progress = self.control, self._work, self.progress
        session = Session(self._ports, work, self._options, progress, control, fencing_token)
        await session.claim()
        logger().info(FOLLOWER_STARTED[work.kind], **{work.kind: work.name}, position=session.position)
        progress.change(FollowerState.CATCHING_UP)
        while not (control.is_stopping() or self._gives_way):
            limit = None if work.limit is None else await work.limit()
            page = await self._ports.log.read_all(after=session.position, limit=_PAGE)
            short = len(page) < _PAGE
            if limit is not None:
                page = [each for each in page if each.position <= limit]
                # The rest is done together with what comes then: it may never be nothing, where events keep coming.
                if len(page) <= _REST and await self._at_limit(session):
                    if work.ends_at_limit:
                        return
                    continue
            if page:
                await self._page(session, page, short=short)
                self._failures = 0
            elif limit is not None:
                # Whoever sets the limit moves on in their own time, and tells nobody.
                await control.wait_for(asyncio.sleep(_LIMIT_SECONDS))
            else:
                self._failures = 0
                await self._idle(session)
        await session.flush()

    async def _page(self, session: Session, page: list[RecordedEvent], *, short: bool) -> None:
        progress, until = self.progress, page[-1].position
        progress.next_recorded_at = page[0].record.recorded_at
        progress.saw_head(until if short else max(until, await self._ports.log.head()))
        chosen = [StoredEvent(each, self._ports.types) for each in page if self._work.wants(each)]
        if chosen:
            await session.apply(chosen, until)
        else:
            session.pass_over(until)
            if session.unsaved >= _FLUSH_POSITIONS:
                await session.flush()
        progress.saw_head(progress.head)

    async def _at_limit(self, session: Session) -> bool:
        """Try to go on without a limit; tell whether it worked."""
        at_limit = self._work.at_limit
        if at_limit is None:
            return False
        await session.flush()
        return await at_limit(session)

    async def _idle(self, session: Session) -> None:
        progress, log = self.progress, self._ports.log
        # Said once it is true: a waiter that is told must find the checkpoint where it looks for it, soon.
        if progress.state is not FollowerState.RUNNING:
            progress.change(FollowerState.RUNNING)
        progress.saw_head(session.position)
        seconds = scattered(self._options.poll_seconds)
        if session.unsaved and self._work.kept:
            await self.control.wait_for(
                log.wait(after=session.position, timeout=min(seconds, _FLUSH_SECONDS))
            )
            if not self.control.is_stopping():
                await session.flush()
            return
        await self.control.wait_for(log.wait(after=session.position, timeout=seconds))

    async def _halt(self, halted: Halted) -> None:
        work, stored = self._work, halted.stored
        logger().error(
            FOLLOWER_STOPPED[work.kind],
            **{work.kind: work.name},
            position=stored.position,
            name=stored.name,
            error=told(halted.error),
            stack=traceback_of(halted.error),
        )
        self.progress.next_recorded_at = stored.recorded.record.recorded_at
        self.progress.change(
            FollowerState.STOPPED,
            f"{stored.name} at position {stored.position} of stream {stored.stream_id!r} failed: {told(halted.error)}",
        )
        if not self.control.is_stopping():
            await self.control.until_woken()

    async def _fail(self, state: FollowerState, error: Exception) -> None:
        self._failures += 1
        self.progress.change(state, told(error))
        if self.control.is_stopping():
            return
        options = self._options
        seconds = backoff(
            self._failures, first=options.retry_delay_seconds, longest=options.max_retry_delay_seconds
        )
        await self.control.pause(seconds, self._ports.clock)
