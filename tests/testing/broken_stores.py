"""Stores that break one promise each, for the tests of the contract kits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from catga_core import LeaseLostError
from catga_core.identifiers import new_id
from catga_core.interfaces import (
    ANY,
    BegunSaga,
    CheckpointStore,
    Claimed,
    ClaimedSaga,
    ClaimOutcome,
    Completed,
    DeadLetter,
    DeadLetterPage,
    DeadLetterStore,
    EventLog,
    IdempotencyStore,
    InboxStore,
    LeasedMessage,
    LockLease,
    LockProvider,
    NewSaga,
    OutboxMessage,
    OutboxStore,
    RecordedEvent,
    SagaClaim,
    SagaKind,
    SagaPause,
    SagaRecord,
    SagaRenewal,
    SagaSignal,
    SagaStore,
    SnapshotStore,
    Stores,
    StreamAppend,
)
from catga_core.interfaces.dead_letters import ALL_LETTERS
from catga_testing.contracts.stores.place import outside

replace = msgspec.structs.replace


class Around:
    """Does what another store does, but for what a subclass breaks."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class SkippingLog(Around):
    """Gives a page that ends in the middle without its last event."""

    async def read_all(self, *, after: int, limit: int) -> list[RecordedEvent]:
        found: list[RecordedEvent] = await self.inner.read_all(after=after, limit=limit)
        return found[:-2] + found[-1:] if len(found) == limit > 2 else found


class HastyLog(Around):
    """Commits at once, whatever unit of work it is called in."""

    async def append(self, appends: Sequence[StreamAppend], /) -> Any:
        # From a task of its own, whose position is taken before those of the block are.
        return await outside(lambda: self.inner.append(appends))


class BlindLog(Around):
    """Appends whatever version is expected."""

    async def append(self, appends: Sequence[StreamAppend], /) -> Any:
        return await self.inner.append([replace(each, expected_version=ANY) for each in appends])


class ForgetfulLog(Around):
    """Does not know what it has stored before."""

    async def append(self, appends: Sequence[StreamAppend], /) -> Any:
        head = await self.inner.head()
        return await self.inner.append(
            [
                replace(
                    each,
                    records=[replace(one, message_id=f"{one.message_id}@{head}") for one in each.records],
                )
                for each in appends
            ]
        )


class PiecemealLog(Around):
    """Appends to one stream after another."""

    async def append(self, appends: Sequence[StreamAppend], /) -> Any:
        return [result for each in appends for result in await self.inner.append([each])]


class PeekingLog(Around):
    """Looks at the guards before it appends, not while it does."""

    async def append(self, appends: Sequence[StreamAppend], /) -> Any:
        held = await self.inner.append([each for each in appends if not each.records])
        await asyncio.sleep(0)
        done = await self.inner.append([each for each in appends if each.records])
        return [(done if each.records else held).pop(0) for each in appends]


class GenerousLocks(Around):
    """Gives a lock to everybody who asks."""

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        return await self.inner.acquire(name, lease=lease) or LockLease(name, new_id(), 10**6, 0.0)


class LevelLocks(Around):
    """Numbers that do not rise."""

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        lock = await self.inner.acquire(name, lease=lease)
        return None if lock is None else replace(lock, fencing_token=1)


class ForgivingIdempotency(Around):
    """Records a result although another has claimed the key since."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.late: dict[str, bytes] = {}

    async def claim(self, key: str, /, *, lease: float) -> ClaimOutcome:
        if key in self.late:
            return Completed(key, self.late[key])
        outcome: ClaimOutcome = await self.inner.claim(key, lease=lease)
        return outcome

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        try:
            await self.inner.complete(claim, result, ttl=ttl)
        except LeaseLostError:
            self.late[claim.key] = result


class StrictIdempotency(Around):
    """Takes no result after the lease, though nobody has claimed the key since."""

    def __init__(self, inner: Any, clock: Any) -> None:
        super().__init__(inner)
        self.clock = clock

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        if claim.expires_at < self.clock.time():
            raise LeaseLostError(f"the key {claim.key!r}", "its lease has run out")
        await self.inner.complete(claim, result, ttl=ttl)


class UnorderedOutbox(Around):
    """Knows of no order within a key."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.keys: dict[str, str | None] = {}

    async def add(self, messages: Sequence[OutboxMessage], /) -> None:
        for each in messages:
            self.keys.setdefault(each.context.message_id, each.key)
        await self.inner.add([replace(each, key=None) for each in messages])

    async def lease(self, *, limit: int, lease: float) -> list[LeasedMessage]:
        return [
            replace(each, message=replace(each.message, key=self.keys[each.message.context.message_id]))
            for each in await self.inner.lease(limit=limit, lease=lease)
        ]


class DeafOutbox(Around):
    """Completes nothing when it leases."""

    async def lease(
        self, *, limit: int, lease: float, sent: Sequence[LeasedMessage] = ()
    ) -> list[LeasedMessage]:
        leased: list[LeasedMessage] = await self.inner.lease(limit=limit, lease=lease)
        return leased


class ThoroughOutbox(Around):
    """Removes pending messages too when it tidies up."""

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        for each in await self.inner.lease(limit=limit, lease=1.0):
            await self.inner.discard(each)
        removed: int = await self.inner.prune(older_than=older_than, limit=limit)
        return removed


class JoiningInbox(Around):
    """Makes one name of two, with a colon between."""

    async def record(self, message_id: str, handler: str, /, *, fingerprint: str = "") -> bool:
        first: bool = await self.inner.record(f"{message_id}:{handler}", "")
        return first


class ReplacingLetters(Around):
    """Forgets what it knew of a letter that comes again."""

    async def add(self, letter: DeadLetter, /) -> None:
        await self.inner.remove(letter.id)
        await self.inner.add(letter)


class CountingLetters(Around):
    """Finds a page by how many came before it, which changes while letters come and go."""

    async def find(
        self, filter: Any = ALL_LETTERS, /, *, after: str | None = None, limit: int = 100
    ) -> DeadLetterPage:
        start = int(after or 0)
        found = (await self.inner.find(filter, limit=100_000)).letters
        rest = len(found) > start + limit
        return DeadLetterPage(found[start : start + limit], str(start + limit) if rest else None)


class ShapelessSnapshots(Around):
    """Gives a snapshot of any shape."""

    async def load(
        self, stream_id: str, name: str, /, *, schema_version: int, max_version: int | None = None
    ) -> Any:
        for shape in (schema_version, 1, 2, 3):
            found = await self.inner.load(stream_id, name, schema_version=shape, max_version=max_version)
            if found is not None:
                return found
        return None


class TrustingCheckpoints(Around):
    """Lets a former consumer save."""

    async def save(
        self,
        name: str,
        position: int,
        /,
        *,
        fencing_token: int = 0,
        expected_position: int | None = None,
        event_id: str | None = None,
    ) -> None:
        await self.inner.save(name, position, expected_position=expected_position, event_id=event_id)


class NamelessCheckpoints(Around):
    """Forgets which event is at a position."""

    async def save(
        self,
        name: str,
        position: int,
        /,
        *,
        fencing_token: int = 0,
        expected_position: int | None = None,
        event_id: str | None = None,
    ) -> None:
        await self.inner.save(
            name, position, fencing_token=fencing_token, expected_position=expected_position
        )


class Unjoined(Around):
    """Writes at once, whatever unit of work it is called in."""

    async def add(self, letter: DeadLetter, /) -> None:
        await outside(lambda: self.inner.add(letter))


class OwnTime(Around):
    """Tells that its leases do not follow the container's clock."""

    @property
    def capabilities(self) -> Any:
        return replace(self.inner.capabilities, clock=False)


Breaking = Callable[[Stores, Any], Stores]


def good(stores: Stores, _clock: Any) -> Stores:
    return stores


def with_own_time(stores: Stores, _clock: Any) -> Stores:
    return Stores(OwnTime(stores.storage), {port: stores[port] for port in stores.ports})


def without(*ports: Any) -> Breaking:
    return lambda stores, _clock: stores.with_stores(dict.fromkeys(ports))


class ForgivingSagas(Around):
    """Lets a former owner go on as if it had written."""

    async def append(self, *arguments: Any, **options: Any) -> None:
        with contextlib.suppress(LeaseLostError):
            await self.inner.append(*arguments, **options)


class HastySagas(Around):
    """Adds a signal at once, whatever unit of work it is called in."""

    async def signal(self, signal: SagaSignal, /) -> bool:
        added: bool = await outside(lambda: self.inner.signal(signal))
        return added


class GreedySagas(Around):
    """Takes as many as are due."""

    async def take(self, kinds: Sequence[SagaKind], /, **options: Any) -> Sequence[ClaimedSaga]:
        unlimited = [replace(kind, most=None) for kind in kinds]
        taken: Sequence[ClaimedSaga] = await self.inner.take(unlimited, **options)
        return taken


class PushingSagas(Around):
    """Lets a new saga run before those that wait for their turn."""

    async def begin(self, saga: NewSaga, /, *, lease: float, most: int | None = None) -> BegunSaga:
        begun: BegunSaga = await self.inner.begin(saga, lease=lease)
        return begun


class UnorderedSagas(Around):
    """Gives the last first."""

    async def take(self, kinds: Sequence[SagaKind], /, **options: Any) -> Sequence[ClaimedSaga]:
        taken: Sequence[ClaimedSaga] = await self.inner.take(kinds, **options)
        return taken[::-1]


class DeafSagas(Around):
    """Forgets what a saga waits for."""

    async def release(self, *arguments: Any, pause: SagaPause, **options: Any) -> None:
        await self.inner.release(*arguments, pause=replace(pause, waits=()), **options)


class RestlessSagas(Around):
    """Parks no saga."""

    async def release(self, *arguments: Any, pause: SagaPause, **options: Any) -> None:
        await self.inner.release(*arguments, pause=replace(pause, problem=None), **options)


class QuietSagas(Around):
    """Does not say which sagas are to be cancelled."""

    async def renew(self, claims: Sequence[SagaClaim], /, *, lease: float) -> SagaRenewal:
        renewal: SagaRenewal = await self.inner.renew(claims, lease=lease)
        return replace(renewal, cancelling=frozenset())


class ImpatientSagas(Around):
    """Does not wait for the end of a saga."""

    async def wait_final(self, transaction_id: str, /, *, timeout: float) -> SagaRecord | None:
        found: SagaRecord | None = await self.inner.get(transaction_id)
        return found


class DoublingSagas(Around):
    """Adds the entries of a repeated write once more."""

    async def append(
        self, claim: SagaClaim, entries: Sequence[bytes], /, *, after: int, **options: Any
    ) -> None:
        saved = await self.inner.get(claim.transaction_id)
        count = after if saved is None else max(after, saved.entries)
        await self.inner.append(claim, entries, after=count, **options)


def breaking(port: Any, broken: Callable[..., Any]) -> Breaking:
    def broken_stores(stores: Stores, clock: Any) -> Stores:
        inner = stores[port]
        made = broken(inner, clock) if broken is StrictIdempotency else broken(inner)
        return stores.with_stores({port: made})

    return broken_stores


BROKEN: dict[str, tuple[Any, type[Around]]] = {
    each.__name__: (port, each)
    for port, several in {
        EventLog: (SkippingLog, HastyLog, BlindLog, ForgetfulLog, PiecemealLog, PeekingLog),
        LockProvider: (GenerousLocks, LevelLocks),
        IdempotencyStore: (ForgivingIdempotency, StrictIdempotency),
        OutboxStore: (UnorderedOutbox, DeafOutbox, ThoroughOutbox),
        InboxStore: (JoiningInbox,),
        DeadLetterStore: (ReplacingLetters, CountingLetters, Unjoined),
        SagaStore: (
            ForgivingSagas,
            HastySagas,
            GreedySagas,
            PushingSagas,
            UnorderedSagas,
            DeafSagas,
            RestlessSagas,
            QuietSagas,
            ImpatientSagas,
            DoublingSagas,
        ),
        SnapshotStore: (ShapelessSnapshots,),
        CheckpointStore: (TrustingCheckpoints, NamelessCheckpoints),
    }.items()
    for each in several
}
