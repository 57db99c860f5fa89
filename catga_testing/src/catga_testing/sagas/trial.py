"""`Trial`: one run of a saga with some faults, and what was seen in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar

from catga_core.errors import CatgaError, ErrorCode
from catga_testing.sagas.faults import (
    CancelAt,
    CrashAt,
    DeliveryFault,
    Fault,
    Misdelivered,
    StepFails,
    StepFault,
)
from catga_testing.sagas.timeline import Moment

MOST_CHANGES = 10_000
"""A saga that changes more than this in one run does not end."""


class CrashedError(BaseException):
    """The process has died here. Not an `Exception`, so that the code of a saga lets it pass."""


class Life:
    """Whether a process lives.

    Args:
        number: The number of the process, from 1.
    """

    def __init__(self, number: int) -> None:
        self.number: int = number
        self.dead: bool = False

    def check(self) -> None:
        """Do nothing in a process that lives.

        Raises:
            CrashedError: It has died.
        """
        if self.dead:
            raise CrashedError


class RunningStep:
    """A step, or a compensation, that runs.

    Args:
        message_id: Its message id.
        name: What it is, in words.
        retried: Whether it is tried again after a failure.
        can_fail: Whether it may fail for good.
    """

    def __init__(self, message_id: str, name: str, *, retried: bool, can_fail: bool) -> None:
        self.message_id: str = message_id
        self.name: str = name
        self.retried: bool = retried
        self.can_fail: bool = can_fail
        self.calls: int = 0


running_step: ContextVar[RunningStep | None] = ContextVar("catga_testing_running_step", default=None)
"""The step that the running task is in."""


class Trial:
    """One run: injects its faults, and notes what happens and which further faults there could be.

    Args:
        faults: The faults, in the order in which they occur.
        cancel: Cancels the saga, `None` where it is not cancelled.
    """

    def __init__(self, faults: Iterable[Fault] = (), cancel: Callable[[], None] | None = None) -> None:
        self.moments: list[Moment] = []
        self.changes: int = 0
        self.died: asyncio.Event = asyncio.Event()
        self.pending: int = 0
        self.runaway: bool = False
        # The steps and compensations that began, by message id: the name, and whether it is a compensation.
        self.ran: dict[str, tuple[str, bool]] = {}
        # Faults that could follow, in order, and from which of them on they come after every injected one.
        self.possible: list[Fault] = []
        self.after: int = 0
        self._left = set(faults)
        self._cancel = cancel
        self._standing: dict[str, StepFails] = {}
        self._seen: set[str] = set()

    @property
    def injected_all(self) -> bool:
        """Whether every fault has occurred."""
        return not self._left

    @property
    def further(self) -> list[Fault]:
        """The faults that could be added to those of this run."""
        return self.possible[self.after :]

    def note(self, process: int, text: str, *, injected: bool = False) -> None:
        """Add a line to the timeline."""
        now = asyncio.get_running_loop().time()
        self.moments.append(Moment(now, process, text, injected))

    def changed(self, life: Life, what: str) -> None:
        """Note that the journal or the world was changed: a point at which the process may crash.

        Args:
            life: The process that changed it.
            what: What was changed.

        Raises:
            CrashedError: The process dies here, or has died meanwhile.
        """
        life.check()
        self.changes += 1
        if self.changes > MOST_CHANGES:
            self.runaway = True
            self.kill(life)
            raise CrashedError
        crash = CrashAt(self.changes, what)
        if self._inject(crash):
            self.note(life.number, f"the process crashes after {what}", injected=True)
            self.kill(life)
            raise CrashedError
        if self._cancel is not None and self._inject(CancelAt(self.changes, what)):
            self.note(0, f"the saga is cancelled after {what}", injected=True)
            self._cancel()

    def kill(self, life: Life) -> None:
        """End a process."""
        life.dead = True
        self.died.set()

    def step_fault(self, step: RunningStep) -> StepFault | None:
        """Return how this attempt of a step or a compensation fails, `None` where it does not."""
        kinds = [StepFault.FOR_GOOD] if step.can_fail else []
        if step.retried:
            kinds += [StepFault.ONCE, StepFault.LOST]
        return self._failure(step.message_id, step.name, kinds)

    def call_fault(self, step: RunningStep, name: str) -> StepFault | None:
        """Return how this call of a service fails, `None` where it does not.

        Args:
            step: The step that it is made in.
            name: The name of what is called.
        """
        step.calls += 1
        kinds = [StepFault.ONCE] if step.retried else []
        # Where the first call fails, the step does; where a later one does, the step has had an effect.
        if step.can_fail and step.calls > 1:
            kinds.append(StepFault.FOR_GOOD)
        return self._failure(f"{step.message_id} call {step.calls}", f"{name} in {step.name}", kinds)

    def delivery_fault(
        self, message_id: str, name: str, kinds: Iterable[DeliveryFault]
    ) -> DeliveryFault | None:
        """Return in which other way the first delivery of a message is made, `None` for none.

        Args:
            message_id: The message.
            name: The name of its class.
            kinds: The ways that are possible.
        """
        key = f"delivery of {message_id}"
        if key in self._seen:
            return None
        self._seen.add(key)
        for how in kinds:
            if self._inject(Misdelivered(message_id, name, how)):
                return how
        return None

    def _failure(self, key: str, name: str, kinds: Iterable[StepFault]) -> StepFault | None:
        standing = self._standing.get(key)
        if standing is not None:
            return standing.how if standing.how is StepFault.FOR_GOOD else None
        if key in self._seen:
            return None
        self._seen.add(key)
        for how in kinds:
            fault = StepFails(key, name, how)
            if self._inject(fault):
                self._standing[key] = fault
                return how
        return None

    def _inject(self, fault: Fault) -> bool:
        if fault in self._left:
            self._left.discard(fault)
            self.after = len(self.possible)
            return True
        self.possible.append(fault)
        return False


def injected_error(how: StepFault) -> CatgaError:
    """Return the error of a step that fails because of a fault."""
    if how is StepFault.FOR_GOOD:
        return CatgaError("Injected: it fails for good.", code="INJECTED", retryable=False)
    text = "Injected: it failed." if how is StepFault.ONCE else "Injected: the answer was lost."
    return CatgaError(text, code=ErrorCode.TRANSPORT_FAILED, retryable=True)
