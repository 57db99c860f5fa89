"""The port of the saga store: the journals of sagas, who runs each, and the events that they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from catga_core.interfaces.port import port
from catga_core.interfaces.saga_records import (
    ALL_SAGAS,
    BegunSaga,
    ClaimedSaga,
    NewSaga,
    SagaClaim,
    SagaFilter,
    SagaKind,
    SagaPage,
    SagaPause,
    SagaRecord,
    SagaRenewal,
    SagaSignal,
    SagaState,
    SavedSaga,
)


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
