"""Sagas in SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

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
from catga_core.option_checks import check_name
from catga_sqlite.engine import saga_looks as looks
from catga_sqlite.engine import saga_rows as rows
from catga_sqlite.engine.wakeups import SAGA_ENDS, SAGA_TURNS, SAGAS_DUE
from catga_sqlite.storage import SqliteStorage

_MADE_DUE: Final = SAGAS_DUE | SAGA_TURNS
_ENDED: Final = SAGA_ENDS | SAGA_TURNS


class SqliteSagaStore:
    """Sagas in the file; `catga_sqlite.engine.saga_rows` and `saga_looks` have what is written and read.

    Args:
        storage: The file.
    """

    def __init__(self, storage: SqliteStorage) -> None:
        self._storage = storage
        self._clock = storage.clock

    async def begin(self, saga: NewSaga, /, *, lease: float, most: int | None = None) -> BegunSaga:
        """Add a saga and claim it; one whose transaction id is known is returned as it is."""
        check_name("transaction_id", saga.transaction_id)
        topics = 0 if most is None else _MADE_DUE
        return await self._storage.write(rows.begin, saga, lease, most, self._clock.time(), topics=topics)

    async def append(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, state: SagaState | None = None
    ) -> None:
        """Add entries to a journal; joins the ambient unit of work."""
        await self._storage.write(rows.append, claim, tuple(entries), after, state, self._clock.time())

    async def release(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, pause: SagaPause
    ) -> None:
        """Add entries to a journal and give the claim back, in one write; joins the ambient unit of work."""
        ends = pause.state.is_final or pause.problem is not None
        waits = msgspec.json.encode([wait.topic for wait in pause.waits]) if pause.waits else None
        await self._storage.write(
            rows.release,
            claim,
            tuple(entries),
            after,
            pause,
            waits,
            self._clock.time(),
            topics=_ENDED if ends else _MADE_DUE,
        )

    async def rewrite(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, version: int, data: bytes, state: SagaState
    ) -> None:
        """Replace a whole journal; joins the ambient unit of work."""
        await self._storage.write(
            rows.rewrite, claim, tuple(entries), version, data, state, self._clock.time()
        )

    async def renew(self, claims: Sequence[SagaClaim], /, *, lease: float) -> SagaRenewal:
        """Extend claims, counted from now."""
        return await self._storage.write(rows.renew, tuple(claims), lease, self._clock.time())

    async def take(self, kinds: Sequence[SagaKind], /, *, limit: int, lease: float) -> Sequence[ClaimedSaga]:
        """Claim sagas that are due, in the order in which they became due."""
        return await self._storage.write(looks.take, tuple(kinds), limit, lease, self._clock.time())

    async def claim(self, transaction_id: str, /, *, lease: float) -> ClaimedSaga | None:
        """Claim one saga, due or not, final or not."""
        return await self._storage.write(rows.claim_one, transaction_id, lease, self._clock.time())

    async def get(self, transaction_id: str, /) -> SagaRecord | None:
        """Return a saga, `None` where there is none."""
        return await self._storage.read(looks.get, transaction_id)

    async def read(self, transaction_id: str, /) -> SavedSaga | None:
        """Return a saga with its journal, `None` where there is none."""
        return await self._storage.read(looks.read, transaction_id)

    async def find(
        self, filter: SagaFilter = ALL_SAGAS, /, *, after: str | None = None, limit: int = 100
    ) -> SagaPage:
        """Return the sagas that match a filter, a page at a time, in the order of their transaction ids."""
        return await self._storage.read(looks.find, filter, after, limit)

    async def cancel(self, transaction_id: str, /) -> SagaRecord | None:
        """Request the cancellation of a saga; joins the ambient unit of work."""
        return await self._storage.write(looks.cancel, transaction_id, self._clock.time(), topics=_MADE_DUE)

    async def signal(self, signal: SagaSignal, /) -> bool:
        """Add a signal; the sagas that wait for its topic become due. Joins the ambient unit of work."""
        check_name("topic", signal.topic)
        check_name("message_id", signal.message_id)
        return await self._storage.write(looks.signal, signal, self._clock.time(), topics=_MADE_DUE)

    async def signals(self, topic: str, /, *, after: int = 0, limit: int = 1) -> Sequence[SagaSignal]:
        """Return signals of a topic, in the order of their positions."""
        return await self._storage.read(looks.signals, topic, after, limit)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove sagas that are completed, compensated or cancelled, and signals; return how many sagas."""
        return await self._storage.write(looks.prune, self._clock.time() - older_than, limit)

    async def wait(self, kinds: Sequence[SagaKind], /, *, timeout: float) -> None:
        """Return when there may be a saga that is due, at the latest after a number of real seconds."""

        async def due() -> float | None:
            return await self._storage.read(looks.due_in, tuple(kinds), self._clock.time())

        # Room for a saga that waits for its turn is made by every release: only those with a limit are woken by it.
        topic = SAGAS_DUE if all(kind.most is None for kind in kinds) else SAGA_TURNS
        await self._storage.wakeups.wait(topic, timeout, due)

    async def wait_final(self, transaction_id: str, /, *, timeout: float) -> SagaRecord | None:
        """Wait until a saga is final or parked, at most for a number of real seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        found: SagaRecord | None = None

        def settled() -> bool:
            return found is None or found.state.is_final or found.problem is not None

        async def due() -> float | None:
            nonlocal found
            found = await self.get(transaction_id)
            return 0.0 if settled() else None

        while True:
            left = end - loop.time()
            await self._storage.wakeups.wait(SAGA_ENDS, max(0.0, left), due)
            if left <= 0 or settled():
                return found
