"""The port of idempotency: a key is claimed by one, and its result is remembered."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from catga_core.interfaces.port import port


class Claimed(msgspec.Struct, frozen=True):
    """The caller has the key: it does the work, then completes or releases it.

    Args:
        key: The key.
        fencing_token: Rises with every claim of the key, also after it expired or was released.
        expires_at: Seconds since the Unix epoch at which the lease ends.
    """

    key: str
    fencing_token: int
    expires_at: float


class InProgress(msgspec.Struct, frozen=True):
    """Somebody else has the key and its lease runs.

    Args:
        key: The key.
        expires_at: Seconds since the Unix epoch at which that lease ends.
    """

    key: str
    expires_at: float


class Completed(msgspec.Struct, frozen=True):
    """The work was done, and this is its result.

    Args:
        key: The key.
        result: The bytes it was completed with.
    """

    key: str
    result: bytes


ClaimOutcome: TypeAlias = Claimed | InProgress | Completed


@port("idempotency_store", kept=True, kit="catga_testing.contracts:IdempotencyContract")
@runtime_checkable
class IdempotencyStore(Protocol):
    """Lets one of many do a thing and the others have its result, across processes."""

    async def claim(self, key: str, /, *, lease: float) -> ClaimOutcome:
        """Take a key that is free, whose lease has run out, or whose result has expired; of n at once one gets it.

        Args:
            key: The key, not empty.
            lease: Seconds it is the caller's.
        """
        ...

    async def renew(self, claim: Claimed, /, *, lease: float) -> Claimed:
        """Extend a lease, counted from now.

        Raises:
            LeaseLostError: When the key is no longer the caller's.
        """
        ...

    async def complete(self, claim: Claimed, result: bytes, /, *, ttl: float) -> None:
        """Record the result, once; joins the ambient unit of work, so that effects and result are written together.

        Args:
            claim: As given by `claim` or `renew`. A lease that has run out and was not taken over still completes.
            result: The bytes to remember.
            ttl: Seconds it is remembered.

        Raises:
            LeaseLostError: When another has claimed it since: nothing was recorded.
        """
        ...

    async def release(self, claim: Claimed, /) -> None:
        """Give the key back without a result, so that the next claim gets it; a claim that was lost is left alone."""
        ...

    async def wait(self, key: str, /, *, timeout: float) -> Completed | None:
        """Wait for somebody's result.

        Args:
            key: The key.
            timeout: Seconds of real time to wait at most.

        Returns:
            The result; `None` when the key was released, its lease ran out, or the time is over.
        """
        ...

    async def prune(self, *, limit: int = 1000) -> int:
        """Remove results that have expired, at most `limit`; return how many. Where the storage does so itself, 0."""
        ...
