"""A rehearsal: runs the code of a saga along a journal, without effects, to check that the two match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from catga_core.errors import CatgaError, SagaChangedError
from catga_core.interfaces.saga_records import ClaimedSaga, SagaSignal
from catga_core.runtime.cancellation import passes_through
from catga_core.sagas.branches import current_branch
from catga_core.sagas.context import SagaContext
from catga_core.sagas.execution import Execution
from catga_core.sagas.history import History
from catga_core.sagas.records import beginning_of
from catga_core.sagas.saga import MakeSaga, Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.steps import Steps
from catga_core.sagas.stops import Interrupted, SagaStop
from catga_core.sagas.types import SagaType
from catga_core.sagas.unreached import Unreached, unreached


class Rehearsal(msgspec.Struct, frozen=True):
    """The result of a rehearsal.

    Args:
        mismatch: The mismatch between code and journal, `None` if they match.
        error: The error of the code, `None` if it reached the end of the journal.
        unreached: The recorded effects that the code does not reach.
    """

    mismatch: SagaChangedError | None
    error: Exception | None
    unreached: Sequence[Unreached]


async def rehearse(claimed: ClaimedSaga, type_: SagaType, make: MakeSaga, services: Services) -> Rehearsal:
    """Run the code of a saga along a journal, up to the first operation that is not recorded.

    Args:
        claimed: The saga, with the journal.
        type_: Its class.
        make: Provides an instance of the class.
        services: Services and policies.

    Raises:
        SerializationError: The journal or the data cannot be decoded.
    """
    history = History(claimed.entries)
    beginning = beginning_of(claimed.record)
    data = type_.decode_data(beginning.data)
    store: Any = _NoStore()
    # Not marked as taken over: a step during which a process may have died must not run.
    claimed = msgspec.structs.replace(claimed, taken_over=False)
    execution = Execution(claimed, history, store, services.clock, services.linger)
    execution.stop(Interrupted(CatgaError("This is a rehearsal."), cancelled=False))
    steps = Steps(execution, type_, services, beginning.correlation_id, beginning.traceparent)
    context = SagaContext(execution, type_, services, steps)
    error: Exception | None = None

    async def use(saga: Saga[Any, Any]) -> None:
        nonlocal error
        bound = current_branch.set(execution.root)
        try:
            await saga.execute(data, context)
        except SagaStop:
            pass
        except BaseException as raised:
            if passes_through(raised) or not isinstance(raised, Exception):
                raise
            error = raised
        finally:
            current_branch.reset(bound)

    try:
        await make(use)
    finally:
        execution.rest.close()
        await execution.journal.close()
    return Rehearsal(execution.mismatch or unread(execution), error, unreached(history))


def unread(execution: Execution) -> SagaChangedError | None:
    """Return the mismatch of code that ended before its journal, if any."""
    left = execution.history.unread() if execution.history.left else None
    return None if left is None else SagaChangedError(execution.id, left, None, execution.history.shown)


class _NoStore:
    """A store that discards writes: operations beyond the journal are not recorded."""

    async def append(self, *_given: Any, **_options: Any) -> None:
        """Write nothing."""

    async def signals(self, *_given: Any, **_options: Any) -> Sequence[SagaSignal]:
        """Return no signals, so that no wait ends."""
        return ()
