"""Idempotency in Redis."""

from __future__ import annotations

import asyncio

from catga_core.errors import LeaseLostError
from catga_core.identifiers import new_id
from catga_core.interfaces.idempotency import Claimed, ClaimOutcome, Completed, InProgress
from catga_redis.engine.news import look_again_within
from catga_redis.engine.refusals import is_refusal, refusal
from catga_redis.storage import RedisStorage


class RedisIdempotencyStore:
    """Lets one of many do a thing and the others have its result: one hash for each key.

    Args:
        storage: Where.
    """

    def __init__(self, storage: RedisStorage) -> None:
        self._storage = storage
        self._commands = storage.commands
        self._retention = storage.options.claim_retention_seconds

    async def claim(self, key: str, /, *, lease: float) -> ClaimOutcome:
        """Take a key that is free, whose lease has run out, or whose result has expired."""
        # Asked again because the answer was lost, the same operation gets the same claim.
        answer = await self._commands.run("claim", key, new_id(), lease, self._retention)
        if isinstance(answer, bytes):
            token, _, ends = answer.partition(b":")
            return Claimed(key, int(token), float(ends))
        state, fact = answer
        return InProgress(key, float(fact)) if state == b"busy" else Completed(key, fact)

    async def renew(self, claim: Claimed, /, *, lease: float) -> Claimed:
        """Extend a lease, counted from now."""
        ends = await self._commands.run("renew_claim", claim.key, claim.fencing_token, lease, self._retention)
        if ends is None:
            raise LeaseLostError(
                "the idempotency claim",
                "it was completed or given back, or another has claimed it since",
            )
        return Claimed(claim.key, claim.fencing_token, float(ends))

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        """Record the result, once; inside a unit of work it is checked and written at the commit."""
        unit = self._storage.joined()
        if unit is not None:
            unit.stage("complete", claim.key, claim.fencing_token, result, ttl)
            return
        answer = await self._commands.run("complete", claim.key, claim.fencing_token, result, ttl)
        if is_refusal(answer):
            raise refusal(answer)
        self._storage.news.wake(f"i:{claim.key}")

    async def release(self, claim: Claimed, /) -> None:
        """Give the key back without a result."""
        await self._commands.run("release_claim", claim.key, claim.fencing_token)
        self._storage.news.wake(f"i:{claim.key}")

    async def wait(self, key: str, /, *, timeout: float) -> Completed | None:
        """Wait for somebody's result."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            with self._storage.news.expect(f"i:{key}") as news:
                answer = await self._commands.run("look", key)
                left = until - loop.time()
                if answer[0] == b"completed":
                    await self._commands.confirm()
                    return Completed(key, answer[1])
                if answer[0] == b"free" or left <= 0:
                    return None
                await news.wait(timeout=look_again_within(min(left, float(answer[1]) + 0.001)))

    async def prune(self, *, limit: int = 1000) -> int:  # noqa: ARG002 - the port's
        """Return 0: the server removes what has expired."""
        return 0
