"""A rehearsal: the code of a saga follows a journal and does nothing behind it, so that it shows whether the two fit."""

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
    """What a rehearsal has shown.

    Args:
        mismatch: Where the code does not fit the journal, `None` where it does.
        error: What the code raised, `None` where it came to the end of the journal.
        unreached: The recorded effects that the code does not come to.
    """

    mismatch: SagaChangedError | None
    error: Exception | None
    unreached: Sequence[Unreached]


async def rehearse(claimed: ClaimedSaga, type_: SagaType, make: MakeSaga, services: Services) -> Rehearsal:
    """Run the code of a saga along a journal, up to the first operation that is not recorded.

    Args:
        claimed: The saga, with the journal.
        type_: Its class.
        make: Gives an object of the class.
        services: Services and policies.

    Raises:
        SerializationError: The journal or the data cannot be decoded.
    """
    history = History(claimed.entries)
    beginning = beginning_of(claimed.record)
    data = type_.decode_data(beginning.data)
    store: Any = _NoStore()
    # Not taken over: no step may run that a process may have died in.
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
    """Return the mismatch of code that ended before its journal did, `None` where it did not."""
    left = execution.history.unread() if execution.history.left else None
    return None if left is None else SagaChangedError(execution.id, left, None, execution.history.shown)


class _NoStore:
    """A store for runs that write nothing: what the code records behind its journal is forgotten."""

    async def append(self, *_given: Any, **_options: Any) -> None:
        """Write nothing."""

    async def signals(self, *_given: Any, **_options: Any) -> Sequence[SagaSignal]:
        """Return nothing: no wait ends here."""
        return ()
