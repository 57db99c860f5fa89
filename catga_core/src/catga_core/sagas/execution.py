"""`Execution`: one run of a saga's code in this process, along its journal and beyond."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from contextvars import Context, copy_context
from typing import Any

import msgspec

from catga_core.clock import Clock
from catga_core.errors import LeaseLostError, SagaCancelledError, SagaChangedError, SagaTimeoutError
from catga_core.interfaces.saga_store import ClaimedSaga, SagaStore, SagaWait
from catga_core.log import SAGA_RECOVERY_FAILED, logger, traceback_of
from catga_core.runtime.tasks import background_task
from catga_core.runtime.waiter import Waiter
from catga_core.sagas.branches import Branch, Group, current_branch
from catga_core.sagas.entries import Operation, shown_operation
from catga_core.sagas.history import History
from catga_core.sagas.journal import Journal
from catga_core.sagas.stops import (
    BranchStop,
    HandedBack,
    Interrupted,
    Lost,
    Parked,
    Reason,
    SagaStop,
    Suspended,
)


class Block(msgspec.Struct, eq=False):
    """A branch that waits.

    Args:
        branch: The branch.
        until: When its wait ends, seconds since the Unix epoch; `None` for no limit.
        topic: What it waits for, `None` for a time only.
        ended: Done when it is to look again.
    """

    branch: Branch
    until: float | None
    topic: str | None
    ended: asyncio.Future[None]


class Execution:
    """Decides for each operation of the code whether it is recorded, runs now, or ends the run.

    A branch first follows what it has recorded. At the end of that it waits until every other branch is there too, so that what
    happened in another order in the journal happens in no other order here.

    Args:
        claimed: The saga.
        history: Its journal.
        store: The store.
        clock: The container's clock.
        linger: Seconds for which a saga that waits stays in memory.
    """

    def __init__(
        self, claimed: ClaimedSaga, history: History, store: SagaStore, clock: Clock, linger: float
    ) -> None:
        self.id: str = claimed.record.saga.transaction_id
        self.clock: Clock = clock
        self.history: History = history
        self.store: SagaStore = store
        self.journal: Journal = Journal(store, claimed.claim, history.entries, clock, self._was_lost)
        self.reason: Reason | None = None
        # Where the code does not fit the journal, also where the run ends for another reason.
        self.mismatch: SagaChangedError | None = None
        # Known before the code comes there: a saga that was cancelled meanwhile is not compensated either.
        self.committed: bool = history.committed
        self.replaying: bool = history.left > 0
        self.root: Branch = history.branch("")
        # Whether a process may have died in a step, which then has to be run again even where the saga was cancelled since: only so
        # is it known whether there is anything to compensate.
        self._in_doubt = history.failing is None and claimed.taken_over
        self._deadline = claimed.record.saga.deadline
        self._linger = linger
        self._running = 1
        self._blocks: set[Block] = set()
        self._gated: dict[asyncio.Future[None], Branch] = {}
        self._stopped = Waiter()
        self._timer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- what the run around it says ---

    def stop(self, reason: Reason) -> None:
        """End the run: at the next operation of each branch, at once where one waits."""
        if self.reason is not None and not isinstance(reason, Lost):
            return
        self.reason = reason
        self._stopped.close()
        for block in self._blocks:
            _end(block.ended)
        self._open_gate()

    def interrupt(self) -> None:
        """End the run with a cancellation, unless its commit point is behind it."""
        if not self.committed:
            self.stop(Interrupted(SagaCancelledError(self.id), cancelled=True))

    def begin_compensation(self) -> None:
        """Forget why the code ended: from here on only a stop of the process, or the loss of the saga, ends the run."""
        if not isinstance(self.reason, Lost | HandedBack):
            self.reason = None
        self._deadline = None
        self.committed = True
        self._stopped = Waiter()

    def abandon(self, task: asyncio.Task[Any] | None) -> None:
        """Cancel the code, also in the middle of a step.

        Args:
            task: The task of `execute`.
        """
        for each in [*self._tasks, *([] if task is None else [task])]:
            each.cancel()

    def notify(self, topic: str) -> None:
        """Have the branches that wait for a topic look again."""
        for block in self._blocks:
            if block.topic == topic:
                _end(block.ended)

    def close(self) -> None:
        """Release what a run leaves behind."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def topics(self) -> Sequence[str]:
        """What branches wait for."""
        return [block.topic for block in self._blocks if block.topic is not None]

    # --- what the context asks for ---

    def here(self) -> Branch:
        """Return the branch of the running task."""
        branch = current_branch.get(None)
        if branch is None:
            msg = "SagaContext was used outside of its saga. Await its methods in execute, or in a branch of saga.gather(...)."
            raise RuntimeError(msg)
        return branch

    def recorded(
        self, branch: Branch, kinds: type[Operation] | tuple[type[Operation], ...], name: str
    ) -> tuple[int, Any] | None:
        """Return the next recorded operation of a branch with its index, `None` at the end of what it recorded.

        Args:
            branch: The branch.
            kinds: The entries that the operation may have made.
            name: Its name.

        Raises:
            SagaStop: The branch recorded another operation here.
        """
        if branch.at >= len(branch.recorded):
            return None
        found = branch.recorded[branch.at]
        if not isinstance(found[1], kinds) or found[1].name != name:
            kind = kinds[0] if isinstance(kinds, tuple) else kinds
            self.changed(found[1].shown, shown_operation(kind.KIND, name, branch.path))
        branch.at += 1
        self.history.left -= 1
        if not self.history.left:
            self._pass_gate()
        return found

    async def go_on(self, branch: Branch) -> None:
        """Return when the branch may do something new.

        Raises:
            SagaStop: The run ends here.
            BranchStop: A sibling has failed.
        """
        await self.wait_for_others(branch)
        branch.has_gone_on = True
        self.check(branch)

    async def wait_for_others(self, branch: Branch) -> None:
        """Return when every branch has come to the end of what it recorded, or the run ends.

        Raises:
            BranchStop: The code around the branch has gone on without it, because a sibling had failed.
        """
        while self.history.left and self._follows:
            await self._wait_at_gate(branch)

    def check_step(self, branch: Branch) -> None:
        """Do as `check`, for a step; one that a process may have died in is run again, whatever has happened since.

        Only a step with a result can be compensated: neither a cancellation nor a failed sibling ends it.

        Raises:
            SagaStop: The run ends here.
            BranchStop: A sibling has failed.
        """
        self._look_at_deadline()
        first, branch.has_gone_on = not branch.has_gone_on, True
        if first and self._in_doubt and branch.may_have_begun_step and self._follows:
            return
        self.check(branch)

    def check(self, branch: Branch, *, siblings: bool = True) -> None:
        """Do nothing while the branch may go on.

        Args:
            branch: The branch.
            siblings: Whether it may not where a sibling has failed.

        Raises:
            SagaStop: The run ends here.
            BranchStop: A sibling has failed.
        """
        if self._deadline is not None:
            self._look_at_deadline()
        if self.reason is not None:
            raise SagaStop
        if siblings and branch.group is not None and branch.has_failed_sibling:
            raise BranchStop

    def _look_at_deadline(self) -> None:
        if self.reason is not None or self.has_no_deadline or self.time_left() != 0:
            return
        error = SagaTimeoutError(f"The saga {self.id!r} took longer than its timeout.")
        self.stop(Interrupted(error, cancelled=False))

    def changed(self, recorded: str | None, asked: str | None) -> None:
        """Park the saga, whose code does not fit its journal.

        Raises:
            SagaStop: Always.
        """
        self.mismatch = self.mismatch or SagaChangedError(self.id, recorded, asked, self.history.shown)
        self.stop(Parked(self.mismatch))
        self._open_gate()
        raise SagaStop

    @property
    def _follows(self) -> bool:
        """Whether the code follows its journal to the end: also in order to be compensated, because only the code knows how."""
        return self.mismatch is None and (self.reason is None or isinstance(self.reason, Interrupted))

    @property
    def has_no_deadline(self) -> bool:
        """Whether steps may take as long as they need."""
        return self._deadline is None or self.committed or self.reason is not None

    def time_left(self) -> float | None:
        """Return the seconds until the saga's deadline, `None` for none."""
        if self._deadline is None or self.has_no_deadline:
            return None
        return max(0.0, self._deadline - self.clock.time())

    async def pause(self, branch: Branch, seconds: float) -> None:
        """Wait in memory before another attempt; a stop ends it, the failure of a sibling does not: the step has begun."""
        await self._stopped.wait(work=self.clock.sleep(seconds))
        self.check(branch, siblings=False)

    async def wait(self, branch: Branch, until: float | None, topic: str | None) -> None:
        """Wait for a time or for a signal, in memory or suspended; return when to look again.

        Raises:
            SagaStop: The run ends here.
            BranchStop: A sibling has failed.
        """
        await self.wait_for_others(branch)
        limit = until
        if self._deadline is not None and not self.committed:
            limit = self._deadline if until is None else min(until, self._deadline)
        self.check(branch)
        block = Block(branch, limit, topic, asyncio.get_running_loop().create_future())
        self._blocks.add(block)
        self._running -= 1
        try:
            self._look_for_rest()
            await block.ended
        finally:
            self._blocks.discard(block)
            self._running += 1
        self.check(branch)

    async def gather(self, works: Sequence[Awaitable[Any]], *, cancel: bool) -> list[Any]:
        """Run branches at the same time; return their results in their order.

        Args:
            works: The branches.
            cancel: Whether the steps of the others are cancelled when one fails.

        Raises:
            Exception: The error of the first branch that failed.
        """
        if not works:
            return []
        parent = self.here()
        parent.begin("gather")
        number, parent.gathers = parent.gathers, parent.gathers + 1
        group = Group(len(works), cancels=cancel)
        tasks: list[asyncio.Task[Any]] = []
        self._running += len(works) - 1
        for index, work in enumerate(works):
            branch = self.history.branch(f"{parent.path}{number}.{index}/", parent, group)
            context = copy_context()
            context.run(current_branch.set, branch)
            tasks.append(
                background_task(self._branch(work, branch, group, tasks if cancel else None), context=context)
            )
        self._tasks.update(tasks)
        try:
            await _all_ended(tasks)
        finally:
            self._tasks.difference_update(tasks)
            parent.busy = None
            self._forget_unbegun(works, group)
        return self._results(tasks)

    # --- parts ---

    async def _branch(
        self, work: Awaitable[Any], branch: Branch, group: Group, siblings: list[asyncio.Task[Any]] | None
    ) -> Any:
        try:
            return await work
        except BaseException as error:
            group.fail(branch)
            self._end_siblings(error, siblings)
            raise
        finally:
            group.left -= 1
            # The last one lets the code around it go on.
            self._running -= 1 if group.left else 0
            self._look_for_rest()

    def _end_siblings(self, error: BaseException, siblings: list[asyncio.Task[Any]] | None) -> None:
        for block in self._blocks:
            if block.branch.has_failed_sibling:
                _end(block.ended)
        # What the journal still has of the others happened before, and has to be known for their compensation.
        if siblings is not None and isinstance(error, Exception) and not self.history.left:
            for each in siblings:
                if each is not asyncio.current_task():
                    each.cancel()

    def _forget_unbegun(self, works: Sequence[Awaitable[Any]], group: Group) -> None:
        """Forget the branches that were cancelled before they began."""
        self._running -= max(0, group.left - 1)
        if group.left:
            for each in works:
                if isinstance(each, Coroutine):
                    each.close()

    def _results(self, tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
        errors = [error for each in tasks if not each.cancelled() and (error := each.exception()) is not None]
        if self.reason is not None and any(isinstance(each, SagaStop) for each in errors):
            raise SagaStop
        for error in errors:
            if not isinstance(error, BranchStop):
                raise error
        if errors:
            raise BranchStop
        for each in tasks:
            # By somebody else, or because a sibling failed whose error was raised above.
            each.result()
        return [each.result() for each in tasks]

    def _look_for_rest(self) -> None:
        """Suspend the saga where every branch waits, or have it woken here where the wait is short."""
        if self._running:
            # It stays in memory, so however long the wait is.
            self._wake_in_time()
            return
        if self._gated and self._follows:
            self._gate_is_stuck()
            return
        if self.reason is not None:
            return
        if not self._blocks or any(block.ended.done() for block in self._blocks):
            return
        due_at = self._due_at
        left = None if due_at is None else due_at - self.clock.time()
        if left is not None and left <= self._linger:
            self._wake_after(left)
            return
        positions = self.history.positions
        waits = tuple(SagaWait(topic, positions.get(topic, 0)) for topic in dict.fromkeys(self.topics))
        self.stop(Suspended(due_at, waits))

    @property
    def _due_at(self) -> float | None:
        return min((block.until for block in self._blocks if block.until is not None), default=None)

    def _wake_in_time(self) -> None:
        due_at = self._due_at if self._blocks and self.reason is None else None
        if due_at is not None:
            self._wake_after(due_at - self.clock.time())

    def _wake_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = background_task(self._wake_those_due(seconds), context=Context())

    async def _wake_those_due(self, seconds: float) -> None:
        if seconds > 0:
            await self.clock.sleep(seconds)
        self._timer = None
        now = self.clock.time()
        for block in self._blocks:
            if block.until is not None and block.until <= now:
                _end(block.ended)
        self._look_for_rest()

    async def _wait_at_gate(self, branch: Branch) -> None:
        gated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gated[gated] = branch
        self._running -= 1
        try:
            self._look_for_rest()
            await gated
        finally:
            # It is still there where the task was cancelled.
            if self._gated.pop(gated, None) is not None:
                self._running += 1

    def _pass_gate(self) -> None:
        self.replaying = False
        self._open_gate()

    def _open_gate(self) -> None:
        gated, self._gated = self._gated, {}
        # They run from now on: what looks for rest before they do must not find any.
        self._running += len(gated)
        for each in gated:
            _end(each)

    def _gate_is_stuck(self) -> None:
        """Go on where every branch has come to its end, and recorded operations are left.

        Those of the code around branches of which one had failed came after the others were stopped. Any other ones are of branches that
        do not exist: the saga is parked.
        """
        stopped = [each for each, branch in self._gated.items() if branch.has_failed_sibling]
        for each in stopped:
            del self._gated[each]
            self._running += 1
            each.set_exception(BranchStop())
        if stopped:
            return
        self.mismatch = SagaChangedError(self.id, self.history.unread(), None, self.history.shown)
        self.stop(Parked(self.mismatch))
        self._open_gate()

    def _was_lost(self, error: BaseException) -> None:
        if not isinstance(error, LeaseLostError):
            logger().error(
                SAGA_RECOVERY_FAILED,
                transaction_id=self.id,
                error=f"{type(error).__name__}: {error}",
                stack=traceback_of(error),
            )
        self.stop(Lost())


async def _all_ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait for every branch, also when the code around them is cancelled: then they are as well."""
    cancelled: asyncio.CancelledError | None = None
    while not all(each.done() for each in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
            for each in tasks:
                each.cancel()
    if cancelled is not None:
        raise cancelled


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
