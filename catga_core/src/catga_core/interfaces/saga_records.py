"""The records of the saga store: sagas, claims, signals, and what is asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class SagaState(StrEnum):
    """The state of a saga."""

    RUNNING = "running"
    """A process runs it, or is about to."""
    WAITING = "waiting"
    """It waits for a time or an event, and no process runs it."""
    COMPENSATING = "compensating"
    """Its completed steps are being compensated."""
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    """It failed, and its completed steps were compensated."""
    COMPENSATION_FAILED = "compensation_failed"
    """It failed, and so did a compensation, which an operator can resume."""
    CANCELLED = "cancelled"
    """It was cancelled, and its completed steps were compensated."""

    @property
    def is_final(self) -> bool:
        """Whether nothing runs by itself from here on."""
        return self in _FINAL


_FINAL = frozenset(
    {SagaState.COMPLETED, SagaState.COMPENSATED, SagaState.COMPENSATION_FAILED, SagaState.CANCELLED}
)


class NewSaga(msgspec.Struct, frozen=True):
    """A saga that begins.

    Args:
        transaction_id: Its identity, chosen by the caller.
        name: The name of its class.
        version: The version of its class.
        format: The serializer that made `data`.
        data: The bytes of its data.
        deadline: When it is cancelled at the latest, seconds since the Unix epoch; `None` for no limit.
        parent: The transaction id of the saga that it is a part of, `None` for none.
    """

    transaction_id: str
    name: str
    version: int
    format: str
    data: bytes
    deadline: float | None = None
    parent: str | None = None


class SagaRecord(msgspec.Struct, frozen=True):
    """A saga as it is stored, without its journal.

    Args:
        saga: What it began with.
        state: Its state.
        entries: The number of entries in its journal.
        created_at: Seconds since the Unix epoch.
        updated_at: When its state or journal last changed, seconds since the Unix epoch.
        due_at: When a process has to run it, seconds since the Unix epoch; the end of the lease where it is leased. `None` where
            it is final, parked, or waits for events without a time limit.
        leased: Whether a process runs it, or has died while it did.
        cancelling: Whether its cancellation was requested.
        outcome: What it ended with, in the executor's format; `None` before.
        problem: Why it is parked, in the executor's format; `None` where it is not.
    """

    saga: NewSaga
    state: SagaState
    entries: int
    created_at: float
    updated_at: float
    due_at: float | None
    leased: bool
    cancelling: bool = False
    outcome: bytes | None = None
    problem: bytes | None = None


class SagaClaim(msgspec.Struct, frozen=True):
    """The right of one process to run a saga for a while.

    Args:
        transaction_id: The saga.
        fencing_token: Rises with every claim of this saga.
    """

    transaction_id: str
    fencing_token: int


class SavedSaga(msgspec.Struct, frozen=True):
    """A saga with its journal.

    Args:
        record: The saga.
        entries: Its journal.
    """

    record: SagaRecord
    entries: Sequence[bytes]


class ClaimedSaga(msgspec.Struct, frozen=True):
    """A saga that the caller may run.

    Args:
        claim: The right to do so.
        record: The saga.
        entries: Its journal.
        taken_over: Whether another process had claimed it and did not release it, so that it may have died in a step.
    """

    claim: SagaClaim
    record: SagaRecord
    entries: Sequence[bytes]
    taken_over: bool


class BegunSaga(msgspec.Struct, frozen=True):
    """The answer to `begin`.

    Args:
        record: The saga, new or known.
        claim: The right to run it, `None` where the saga was known, or has to wait for its turn.
        created: Whether it is new.
    """

    record: SagaRecord
    claim: SagaClaim | None
    created: bool


class SagaKind(msgspec.Struct, frozen=True):
    """Sagas that a process can run.

    Args:
        name: The name of their class.
        version: The version of their class.
        most: How many sagas of the name, of all versions, may be leased at the same time; `None` for no limit.
    """

    name: str
    version: int
    most: int | None = None


class SagaWait(msgspec.Struct, frozen=True):
    """A topic that a saga waits for.

    Args:
        topic: The topic.
        after: The position of the last signal of it that the saga has had, 0 for none.
    """

    topic: str
    after: int = 0


class SagaPause(msgspec.Struct, frozen=True):
    """The state in which a process leaves a saga.

    Args:
        state: The state.
        due_at: When a process has to run it again, seconds since the Unix epoch; `None` where no time is known.
        waits: What it waits for: a later signal of one of these topics makes it due, also one that is there already.
        outcome: What it ended with, for a final state.
        problem: Why it is parked: it is not due before `claim` and `release` make it so. `None` where it is not parked.
    """

    state: SagaState
    due_at: float | None = None
    waits: tuple[SagaWait, ...] = ()
    outcome: bytes | None = None
    problem: bytes | None = None


class SagaSignal(msgspec.Struct, frozen=True):
    """Something that sagas may wait for, such as an event.

    Args:
        topic: What sagas wait for it by.
        message_id: Its identity: of one topic, a known one is not added again.
        data: Its bytes, in the executor's format.
        position: Its place, rising over all signals; 0 before it is added.
    """

    topic: str
    message_id: str
    data: bytes
    position: int = 0


class SagaRenewal(msgspec.Struct, frozen=True):
    """The answer to `renew`.

    Args:
        lost: The sagas that are no longer the caller's.
        cancelling: The caller's sagas whose cancellation was requested.
    """

    lost: frozenset[str]
    cancelling: frozenset[str]


class SagaFilter(msgspec.Struct, frozen=True):
    """Which sagas are meant; a field that is `None` does not matter.

    Args:
        state: Their state.
        name: The name of their class.
        parked: Whether they are parked.
        updated_before: Seconds since the Unix epoch; those that last changed earlier.
        parent: The transaction id of the saga that they are a part of.
    """

    state: SagaState | None = None
    name: str | None = None
    parked: bool | None = None
    updated_before: float | None = None
    parent: str | None = None


ALL_SAGAS: SagaFilter = SagaFilter()


class SagaPage(msgspec.Struct, frozen=True):
    """Some sagas, in the order of their transaction ids.

    Args:
        records: Those of this page.
        next: Pass it as `after` for the next page; `None` for the last page.
    """

    records: Sequence[SagaRecord]
    next: str | None
