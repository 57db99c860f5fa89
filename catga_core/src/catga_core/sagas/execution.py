"""`Execution`: one run of a saga's code in this process, along its journal and beyond."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from catga_core.clock import Clock
from catga_core.errors import (
    CatgaError,
    LeaseLostError,
    SagaCancelledError,
    SagaChangedError,
    SagaTimeoutError,
)
from catga_core.interfaces.saga_records import ClaimedSaga, SagaWait
from catga_core.interfaces.saga_store import SagaStore
from catga_core.log import SAGA_RECOVERY_FAILED, logger, traceback_of
from catga_core.runtime.waiter import Waiter
from catga_core.sagas.branches import Branch, current_branch
from catga_core.sagas.entries import Operation, shown_operation
from catga_core.sagas.history import History
from catga_core.sagas.journal import AGAIN, Journal, may_help
from catga_core.sagas.resting import Rest, end
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

T = TypeVar("T")


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
        # The mismatch of code and journal, even if the run ends for another reason.
        self.mismatch: SagaChangedError | None = None
        # Known before the code comes there: a saga that was cancelled meanwhile is not compensated either.
        self.committed: bool = history.committed
        self.replaying: bool = history.left > 0
        self.root: Branch = history.branch("")
        # Whether a process may have died in a step, which then has to be run again even where the saga was cancelled since: only so
        # is it known whether there is anything to compensate.
        self._in_doubt = history.failing is None and claimed.taken_over
        self._deadline = claimed.record.saga.deadline
        self.rest: Rest = Rest(
            clock,
            linger,
            ends=lambda: self.reason is not None,
            may_rest=self._may_rest,
            suspend=self._suspend,
        )
        self._gated: dict[asyncio.Future[None], Branch] = {}
        self._stopped = Waiter()
        self.tasks: set[asyncio.Task[Any]] = set()

    # --- called by the run ---

    def stop(self, reason: Reason) -> None:
        """End the run: at the next operation of each branch, at once where one waits."""
        if self.reason is not None and not isinstance(reason, Lost):
            return
        self.reason = reason
        self._stopped.close()
        self.rest.wake_all()
        self._open_gate()

    def interrupt(self) -> None:
        """End the run with a cancellation, unless its commit point is behind it."""
        if not self.committed:
            self.stop(Interrupted(SagaCancelledError(self.id), cancelled=True))

    def begin_compensation(self) -> None:
        """Discard the reason of the code's end; only a stop or the loss of the saga ends the run now."""
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
        for each in [*self.tasks, *([] if task is None else [task])]:
            each.cancel()

    # --- called by the context ---

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
        """Wait until the branch may run a new operation.

        Raises:
            SagaStop: The run ends here.
            BranchStop: A sibling has failed.
        """
        await self.wait_for_others(branch)
        branch.has_gone_on = True
        self.check(branch)

    async def wait_for_others(self, branch: Branch) -> None:
        """Wait until every branch has replayed its recorded operations, or the run ends.

        Raises:
            BranchStop: The code around the branch has gone on without it, because a sibling had failed.
        """
        while self.history.left and self._follows:
            await self._wait_at_gate(branch)

    def check_step(self, branch: Branch) -> None:
        """Check as `check` does, but let an interrupted step run again.

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
        """Raise an error unless the branch may continue.

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
        """Park the saga, because its code does not match its journal.

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
        """Whether steps have no time limit."""
        return self._deadline is None or self.committed or self.reason is not None

    def time_left(self) -> float | None:
        """Return the seconds until the saga's deadline, `None` without one."""
        if self._deadline is None or self.has_no_deadline:
            return None
        return max(0.0, self._deadline - self.clock.time())

    async def pause(self, branch: Branch, seconds: float) -> bool:
        """Wait in memory before another attempt; a stop ends it, the failure of a sibling does not: the step has begun.

        Returns:
            Whether that attempt is the last one: the saga was cancelled or is late, and the step may have had its effect, which only
            a further attempt shows.

        Raises:
            SagaStop: The run ends here.
        """
        await self._stopped.wait(work=self.clock.sleep(seconds))
        self._look_at_deadline()
        if isinstance(self.reason, Interrupted):
            return True
        self.check(branch, siblings=False)
        return False

    async def surely(self, branch: Branch, call: Callable[[], Awaitable[T]]) -> T:
        """Call the store until it answers: that it is away is no failure of the saga.

        Args:
            branch: The branch.
            call: A call that may be repeated.

        Raises:
            CatgaError: It fails for a reason that does not pass.
            SagaStop: The run ends here.
            BranchStop: A sibling has failed.
        """
        attempt = 0
        while True:
            try:
                return await call()
            except CatgaError as error:
                if not may_help(error):
                    raise
            attempt += 1
            await self._stopped.wait(work=self.clock.sleep(AGAIN.delay(attempt)))
            self.check(branch)

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
        await self.rest.wait(branch, limit, topic)
        self.check(branch)

    # --- parts ---

    def _may_rest(self) -> bool:
        if self._gated and self._follows:
            self._gate_is_stuck()
            return False
        return self.reason is None

    def _suspend(self, due_at: float | None) -> None:
        positions = self.history.positions
        waits = tuple(SagaWait(topic, positions.get(topic, 0)) for topic in dict.fromkeys(self.rest.topics))
        self.stop(Suspended(due_at, waits))

    async def _wait_at_gate(self, branch: Branch) -> None:
        gated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gated[gated] = branch
        self.rest.running -= 1
        try:
            self.rest.look()
            await gated
        finally:
            # It is still there where the task was cancelled.
            if self._gated.pop(gated, None) is not None:
                self.rest.running += 1

    def _pass_gate(self) -> None:
        self.replaying = False
        self._open_gate()

    def _open_gate(self) -> None:
        gated, self._gated = self._gated, {}
        # They run from now on: what looks for rest before they do must not find any.
        self.rest.running += len(gated)
        for each in gated:
            end(each)

    def _gate_is_stuck(self) -> None:
        """Go on where every branch has come to its end, and recorded operations are left.

        Those of the code around branches of which one had failed came after the others were stopped. Any other ones are of branches that
        do not exist: the saga is parked.
        """
        stopped = [each for each, branch in self._gated.items() if branch.has_failed_sibling]
        for each in stopped:
            del self._gated[each]
            self.rest.running += 1
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
