"""Queues in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from catga_core.identifiers import new_id
from catga_core.interfaces.queue import (
    ALL_QUEUED,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueueLease,
    QueuePage,
    QueueState,
    QueueStats,
)
from catga_core.storage_support.queues import PageMark, mark_of, next_of, state_of
from catga_core.storage_support.records import decode_queued, encode_queued
from catga_redis.engine.news import look_again_within
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage

_TOPIC: Final = "q"
_GRAIN: Final = 0.001
_LOOK_AT: Final = 500  # messages one script looks at: it keeps everybody else waiting meanwhile
_SETS: Final = ("placed", "scheduled")


class RedisQueueStore:
    """Keeps messages in queues until they are handled; lua/queue.lua tells how.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands

    async def add(self, message: QueuedMessage, /, *, queues: Sequence[str]) -> None:
        """Add a message to the end of some queues, to all or to none; inside a unit of work, at the commit."""
        if not queues:
            return
        arguments: tuple[Any, ...] = (
            message.context.message_id,
            _given(message.key),
            int(message.priority),
            repr(float(message.due_at)),
            message.name,
            message.fingerprint,
            encode_queued(message),
            len(queues),
            *queues,
        )
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("add_queued", *arguments)
            return
        answer = await self._commands.run("add_queued", *arguments)
        if is_refusal(answer):
            raise refusal(answer)
        self._storage.news.wake(_TOPIC)

    async def lease(
        self, demands: Mapping[str, int], /, *, lease: float, longest_delay: float | None = None
    ) -> list[QueueLease]:
        """Take messages that are due: of each queue by priority, then in their order."""
        asked = [part for demand in demands.items() for part in demand]
        longest = "" if longest_delay is None else longest_delay
        # Not asked again when the answer is lost: what was leased then is free again when its lease ends.
        answer = await self._commands.run("lease_queued", lease, longest, len(demands), *asked, again=False)
        token, given = answer
        return [
            QueueLease(
                queue=queue.decode(),
                sequence=int(place),
                message=decode_queued(stored),
                attempt=attempt,
                fencing_token=token,
                error=None if error is None else error.decode(),
            )
            for queue, place, stored, attempt, error in given
        ]

    async def renew(self, leased: Sequence[QueueLease], /, *, lease: float) -> list[QueueLease]:
        """Extend leases, counted from now; return those that are still the caller's."""
        if not leased:
            return []
        kept = await self._commands.run("renew_queued", len(leased), lease, *_tokens(leased))
        return [leased[number - 1] for number in kept]

    async def complete(self, leased: Sequence[QueueLease], /, *, result: bytes | None = None) -> None:
        """Record that messages were handled; inside a unit of work, at the commit."""
        if not leased:
            return
        unit = self._storage.joined()
        strict = "0" if unit is None else "1"
        arguments: list[Any] = [len(leased), strict, b"0" if result is None else b"1" + result]
        for each in leased:
            arguments += [*_token(each), encode_queued(replace(each.message, data=b""))]
        if unit is not None:
            unit.stage("complete_queued", *arguments)
            unit.ended.update(map(_identity, leased))
            return
        await self._commands.run("complete_queued", *arguments)
        self._storage.news.wake(_TOPIC)

    async def require(self, leased: QueueLease, /) -> None:
        """Require that a message is the caller's; inside a unit of work, at the commit."""
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("require_queued", *_token(leased))
            return
        answer = await self._commands.run("require_queued", *_token(leased))
        if is_refusal(answer):
            raise refusal(answer)

    async def retry(self, leased: QueueLease, /, *, delay: float, error: str) -> None:
        """Give a message back for another attempt; does nothing where it was taken over by another consumer."""
        await self._commands.run("retry_queued", *_token(leased), delay, error)
        self._storage.news.wake(_TOPIC)

    async def release(self, leased: Sequence[QueueLease], /) -> None:
        """Give messages back without an attempt: they are due at once, and this lease does not count as an attempt."""
        if leased:
            await self._commands.run("release_queued", len(leased), *_tokens(leased))
            self._storage.news.wake(_TOPIC)

    async def discard(self, leased: QueueLease, /, *, hold_key: bool = False) -> bool:
        """Remove a message that goes to the dead letters; inside a unit of work it is looked at once more at the commit."""
        token = _token(leased)
        operation = ("discard_queued", *token, "1" if hold_key else "0")
        return await self._end(_identity(leased), ("may_discard", *token), operation)

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Give the messages of a held key again; inside a unit of work it is looked at once more at the commit."""
        return await self._end(("key", queue, key), ("is_key_held", queue, key), ("release_key", queue, key))

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; inside a unit of work it is looked at once more at the commit."""
        named = (queue, message_id)
        return await self._end(("message", *named), ("may_cancel", *named), ("cancel_queued", *named))

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message, done or not; `None` where there is none."""
        found = await self._commands.run("get_queued", queue, message_id)
        return None if found is None else _entry(queue, found)

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time."""
        begin = mark_of(after)
        queues = [filter.queue] if filter.queue is not None else await self._names()
        found: list[tuple[PageMark, QueueEntry]] = []
        for kind, name in enumerate(_SETS):
            # One more than asked for tells whether there is another page.
            left = limit + 1 - len(found)
            if kind >= begin[0] and left > 0:
                start = begin if kind == begin[0] else (kind, -1.0, 0)
                several = [await self._found(queue, name, start, filter, left) for queue in queues]
                found += sorted((each for some in several for each in some), key=_mark)[:left]
        page = found[:limit]
        return QueuePage([entry for _, entry in page], next_of(page[-1][0]) if len(found) > limit else None)

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue that has a message that is not done, or a held key."""
        rows = await self._commands.run("queue_stats")
        return {
            queue.decode(): QueueStats(
                ready, scheduled, leased, retrying, held, None if oldest is None else float(oldest)
            )
            for queue, ready, scheduled, leased, retrying, held, oldest in rows
            if ready or scheduled or held
        }

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove messages that are done, never others; return how many."""
        removed: int = await self._commands.run("prune_queued", older_than, limit)
        return removed

    async def wait(self, queues: Sequence[str], /, *, timeout: float) -> None:
        """Return when there may be a message that is due in one of the queues, at the latest after a number of real seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            with self._storage.news.expect(_TOPIC) as news:
                due_in = await self._commands.run("queue_due_in", len(queues), *queues)
                seconds = None if due_in is None else float(due_in)
                left = until - loop.time()
                if seconds == 0 or left <= 0:
                    return
                soon = left if seconds is None else min(left, seconds + _GRAIN)
                await news.wait(timeout=look_again_within(soon))

    async def _end(
        self, identity: tuple[Any, ...], look: tuple[Any, ...], operation: tuple[Any, ...]
    ) -> bool:
        unit = self._storage.joined()
        if unit is None:
            # A unit of work of its own knows, when it is asked again because its answer was lost, that it was done.
            done = not is_refusal(await self._commands.commit(new_id(), [operation]))
            if done:
                self._storage.news.wake(_TOPIC)
            return done
        if identity in unit.ended or not await self._commands.run(*look):
            return False
        # Looked at once more, for another call of the block may have come first meanwhile.
        if identity in unit.ended:
            return False
        unit.stage(*operation)
        unit.ended.add(identity)
        return True

    async def _names(self) -> list[str]:
        return [name.decode() for name in await self._commands.run("queue_names")]

    async def _found(
        self, queue: str, name: str, begin: PageMark, filter: QueueFilter, want: int
    ) -> list[tuple[PageMark, QueueEntry]]:
        kind = _SETS.index(name)
        score: str | bytes = f"{begin[1]:.6f}"
        number: str | bytes = f"{begin[2]:016}"
        found: list[tuple[PageMark, QueueEntry]] = []
        more = True
        while more and len(found) < want:
            wanted = (_LOOK_AT, want - len(found), _given(filter.name), _given(filter.key))
            score, number, more, rows = await self._commands.run(
                "find_queued", queue, name, score, number, *wanted
            )
            found += [((kind, float(at), int(row[0])), _entry(queue, row)) for at, row in rows]
        return found


def _given(text: str | None) -> str:
    return "0" if text is None else f"1{text}"


def _token(leased: QueueLease) -> tuple[Any, ...]:
    return leased.queue, leased.message.context.message_id, f"{leased.sequence:016}", leased.fencing_token


def _tokens(leased: Sequence[QueueLease]) -> list[Any]:
    return [part for each in leased for part in _token(each)]


def _identity(leased: QueueLease) -> tuple[Any, ...]:
    return "lease", leased.queue, leased.sequence


def _entry(queue: str, row: Sequence[Any]) -> QueueEntry:
    _, now, stored, due, ready, place, leased, attempts, error, done, result, held = row
    due_at = float(due)
    if done is not None:
        state, time = QueueState.DONE, float(done)
    else:
        state = state_of(
            now=float(now),
            due_at=due_at,
            placed=place is not None,
            leased=leased is not None,
            held=bool(held),
            attempts=int(attempts),
        )
        time = due_at or float(ready)
    text = None if error is None else error.decode()
    return QueueEntry(queue, decode_queued(stored), state, int(attempts), text, time, result)


def _mark(each: tuple[PageMark, QueueEntry]) -> PageMark:
    return each[0]
