"""The port of the saga store: the journals of sagas, who runs each, and the events that they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port


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


@port("saga_store", kept=True, transactional=True, kit="catga_testing.contracts:SagaContract")
@runtime_checkable
class SagaStore(Protocol):
    """Keeps the journals of sagas. Processes share the work by leases.

    Only the process that holds the last claim of a saga changes it; it may also after its lease has run out, as long as no other claim
    followed. What a former holder writes is refused with `LeaseLostError`, also inside a unit of work, which then commits nothing.
    """

    async def begin(self, saga: NewSaga, /, *, lease: float, most: int | None = None) -> BegunSaga:
        """Add a saga and claim it; one whose transaction id is known is returned as it is.

        Joins the ambient unit of work.

        Args:
            saga: The saga.
            lease: Seconds that the claim lasts.
            most: How many sagas of its name may be leased at the same time. Where so many are, or others wait for their turn, it is
                added without a claim and is due at once. `None` for no limit.

        Returns:
            The saga as it is stored. Of several callers at once, one creates it.

        Raises:
            ValueError: The transaction id is empty.
            ConflictError: Where writes are collected, at the commit: the saga was added meanwhile, or the room that it was claimed for
                was taken. Nothing was written.
        """
        ...

    async def append(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, state: SagaState | None = None
    ) -> None:
        """Add entries to a journal; joins the ambient unit of work.

        The same call again, because its outcome was unknown, changes nothing.

        Args:
            claim: The caller's claim; it is enough that no other claim followed.
            entries: The entries.
            after: The number of entries before them.
            state: The saga's state from now on, `None` for the same.

        Raises:
            LeaseLostError: Another process has claimed the saga, or the caller has released it; nothing was added. Where writes are
                collected, the commit raises it.
            ConflictError: The journal has fewer entries than `after`, because an earlier write failed; nothing was added. Where writes
                are collected, the commit raises it.
        """
        ...

    async def release(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, pause: SagaPause
    ) -> None:
        """Add entries to a journal and give the claim back, in one write; joins the ambient unit of work.

        A requested cancellation makes the saga due at once, unless the state is final or it is parked. The same call again, because its
        outcome was unknown, changes nothing as long as no other claim followed.

        Args:
            claim: The caller's claim.
            entries: The entries; may be empty.
            after: The number of entries before them.
            pause: What the saga does next.

        Raises:
            LeaseLostError: As `append`.
            ConflictError: As `append`.
        """
        ...

    async def rewrite(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, version: int, data: bytes, state: SagaState
    ) -> None:
        """Replace a whole journal; joins the ambient unit of work. A requested cancellation, outcome and problem are forgotten.

        The claim and its lease stay as they are.

        Args:
            claim: The caller's claim.
            entries: The new journal.
            version: The version of the saga's class from now on.
            data: The saga's data from now on.
            state: The saga's state from now on.

        Raises:
            LeaseLostError: As `append`.
        """
        ...

    async def renew(self, claims: Sequence[SagaClaim], /, *, lease: float) -> SagaRenewal:
        """Extend claims, counted from now, also those that have run out without another claim since.

        Args:
            claims: The caller's claims.
            lease: Seconds that they last.
        """
        ...

    async def take(self, kinds: Sequence[SagaKind], /, *, limit: int, lease: float) -> Sequence[ClaimedSaga]:
        """Claim sagas that are due, in the order in which they became due; those whose lease has run out are taken over.

        A claimed saga no longer waits for topics. What is taken is never more than `most` of a kind allows; leases that have run out
        do not count.

        Args:
            kinds: Which ones.
            limit: How many at most, 1 or more.
            lease: Seconds that the claims last.
        """
        ...

    async def claim(self, transaction_id: str, /, *, lease: float) -> ClaimedSaga | None:
        """Claim one saga, due or not, final or not, parked or not, whatever limit there is. It no longer waits for topics.

        Returns:
            The saga; `None` where there is none, or another process's lease of it has not run out.
        """
        ...

    async def get(self, transaction_id: str, /) -> SagaRecord | None:
        """Return a saga, `None` where there is none."""
        ...

    async def read(self, transaction_id: str, /) -> SavedSaga | None:
        """Return a saga with its journal, `None` where there is none."""
        ...

    async def find(
        self, filter: SagaFilter = ALL_SAGAS, /, *, after: str | None = None, limit: int = 100
    ) -> SagaPage:
        """Return the sagas that match a filter, a page at a time, in the order of their transaction ids.

        Args:
            filter: Which ones.
            after: The `next` of the previous page, `None` for the first page.
            limit: How many at most, 1 or more.
        """
        ...

    async def cancel(self, transaction_id: str, /) -> SagaRecord | None:
        """Request the cancellation of a saga; joins the ambient unit of work.

        One that no process runs becomes due at once, unless it is parked. A final one stays as it is. The time of its last change stays.

        Returns:
            The saga as it is now, `None` where there is none.
        """
        ...

    async def signal(self, signal: SagaSignal, /) -> bool:
        """Add a signal; the sagas that wait for its topic become due. Joins the ambient unit of work.

        Args:
            signal: The signal.

        Returns:
            Whether it was added: `False` where its message id is known. Where writes are collected, a unit of work may return `True`
            for a known one.

        Raises:
            ValueError: The topic or the message id is empty.
        """
        ...

    async def signals(self, topic: str, /, *, after: int = 0, limit: int = 1) -> Sequence[SagaSignal]:
        """Return signals of a topic, in the order of their positions.

        Args:
            topic: The topic.
            after: Those after this position.
            limit: How many at most, 1 or more.
        """
        ...

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sagas that are completed, compensated or cancelled, and signals; return how many sagas.

        A saga stays that is claimed, and one whose parent is there and not itself completed, compensated or cancelled, because the
        parent may still compensate it.

        Args:
            older_than: Seconds; sagas that ended and signals that were added longer ago are removed.
            limit: How many of each at most.
        """
        ...

    async def wait(self, kinds: Sequence[SagaKind], /, *, timeout: float) -> None:
        """Return when there may be a saga that is due, at the latest after a number of real seconds.

        Commits of this process wake it at once, and so does the time at which a saga is due; commits of other processes where the
        storage can tell. The end of a lease that began meanwhile may be noticed only with the timeout. Other tasks get a turn in any
        case. It may also return for less.

        Args:
            kinds: Which ones.
            timeout: Real seconds.
        """
        ...

    async def wait_final(self, transaction_id: str, /, *, timeout: float) -> SagaRecord | None:
        """Wait until a saga is final or parked, at most for a number of real seconds.

        Commits of this process wake it at once, those of others where the storage can tell, else it looks at an interval.

        Returns:
            The saga as it is then, `None` where there is none.
        """
        ...
