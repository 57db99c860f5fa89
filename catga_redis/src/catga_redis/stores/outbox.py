"""The outbox in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from catga_core.identifiers import new_id
from catga_core.interfaces.outbox import LeasedMessage, OutboxMessage, OutboxStats
from catga_core.storage_support.records import decode_message, encode_message
from catga_redis.engine.news import look_again_within
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage

_GRAIN = 0.001


class RedisOutboxStore:
    """Keeps messages until they are sent; lua/outbox.lua tells how.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands

    async def add(self, messages: Sequence[OutboxMessage], /) -> None:
        """Store messages at the end; inside a unit of work, at the commit."""
        if not messages:
            return
        arguments: list[Any] = [len(messages)]
        for message in messages:
            group = "0" if message.key is None else f"1{message.key}"
            identity = message.context.message_id
            arguments += [identity, group, message.created_at, encode_message(message), message.fingerprint]
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("add", *arguments)
            return
        answer = await self._commands.run("add", *arguments)
        if is_refusal(answer):
            raise refusal(answer)
        self._storage.news.wake("o")

    async def lease(
        self,
        *,
        limit: int,
        lease: float,
        longest_delay: float | None = None,
        sent: Sequence[LeasedMessage] = (),
    ) -> list[LeasedMessage]:
        """Take messages that are due, oldest first; complete others before."""
        # Two steps: only the first is asked again when its answer is lost.
        if sent:
            await self.complete(sent)
        # Not asked again when the answer is lost: what was leased then is free again when its lease ends.
        token, given = await self._commands.run(
            "lease", limit, lease, "" if longest_delay is None else longest_delay, again=False
        )
        return [
            LeasedMessage(
                sequence=int(sequence),
                message=decode_message(stored),
                attempts=int(attempts),
                fencing_token=token,
                error=error.decode() if failed else None,
            )
            for sequence, stored, attempts, error, failed in given
        ]

    async def renew(self, leased: Sequence[LeasedMessage], /, *, lease: float) -> list[LeasedMessage]:
        """Extend leases, counted from now; return those that are still the caller's."""
        if not leased:
            return []
        kept = await self._commands.run("renew", len(leased), lease, *_tokens(leased))
        still = {int(sequence) for sequence in kept}
        return [each for each in leased if each.sequence in still]

    async def complete(self, leased: Sequence[LeasedMessage], /) -> None:
        """Note that messages were sent."""
        if leased:
            await self._commands.run("sent", len(leased), *_tokens(leased))
            self._storage.news.wake("o")

    async def retry(self, leased: LeasedMessage, /, *, delay: float, error: str) -> None:
        """Give a message back for a later try."""
        await self._commands.run("retry", *_tokens([leased]), delay, error)

    async def release(self, leased: Sequence[LeasedMessage], /) -> None:
        """Give messages back untried, due at once."""
        if leased:
            await self._commands.run("give_back", len(leased), *_tokens(leased))
            self._storage.news.wake("o")

    async def discard(self, leased: LeasedMessage, /) -> bool:
        """Take a message out for good; inside a unit of work it is looked at once more at the commit."""
        unit = self._storage.joined()
        tokens = _tokens([leased])
        if unit is None:
            # A unit of work of its own knows, when it is asked again because its answer was lost, that it was done.
            done = not is_refusal(await self._commands.commit(new_id(), [("discard", *tokens)]))
            if done:
                self._storage.news.wake("o")
            return done
        if leased.sequence in unit.ended or not await self._commands.run("is_held", *tokens):
            return False
        # Looked at once more, for another call of the block may have come first meanwhile.
        if leased.sequence in unit.ended:
            return False
        unit.stage("discard", *tokens)
        unit.ended.add(leased.sequence)
        return True

    async def stats(self) -> OutboxStats:
        """Return how many messages wait, and since when."""
        pending, oldest, retrying = await self._commands.run("outbox_stats")
        return OutboxStats(pending, None if oldest is None else float(oldest), retrying)

    async def prune(self, *, older_than: float, limit: int = 1000) -> int:
        """Remove what is left of sent messages; return how many."""
        removed: int = await self._commands.run("prune_outbox", older_than, limit)
        return removed

    async def wait(self, *, timeout: float) -> None:
        """Return when there may be a message that is due, at the latest after so many seconds of real time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            with self._storage.news.expect("o") as news:
                due_in = await self._commands.run("due_in")
                seconds = None if due_in is None else float(due_in)
                left = until - loop.time()
                if seconds == 0 or left <= 0:
                    return
                await news.wait(
                    timeout=look_again_within(left if seconds is None else min(left, seconds + _GRAIN))
                )


def _tokens(leased: Sequence[LeasedMessage]) -> list[Any]:
    tokens: list[Any] = []
    for each in leased:
        tokens += [each.sequence, each.fencing_token]
    return tokens
