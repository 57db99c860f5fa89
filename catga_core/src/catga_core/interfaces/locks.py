"""The port of locks: one holder at a time across processes, for as long as its lease."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.port import port


class LockLease(msgspec.Struct, frozen=True):
    """A lock that is held.

    Args:
        name: What is locked.
        token: Proves who holds it.
        fencing_token: Rises with every acquisition of this name: a store that is given it can refuse a former holder.
        expires_at: Seconds since the Unix epoch at which the lease ends.
    """

    name: str
    token: str
    fencing_token: int
    expires_at: float


@port("lock_provider", kept=True, kit="catga_testing.contracts:LockContract")
@runtime_checkable
class LockProvider(Protocol):
    """Gives a named lock to one at a time. Applications use `catga_core.reliability.Locks`, which renews and waits.

    Take a lock before a unit of work and give it back after it: whether one that is taken in it is part of it depends on
    the storage, see `StorageCapabilities.joining_locks`.
    """

    async def acquire(self, name: str, /, *, lease: float) -> LockLease | None:
        """Take a lock that is free or whose lease has run out; return `None`, at once, for one that is held.

        Args:
            name: What to lock, not empty.
            lease: Seconds it is the caller's.
        """
        ...

    async def renew(self, held: LockLease, /, *, lease: float) -> LockLease:
        """Extend a lease, counted from now.

        Raises:
            LeaseLostError: When it has run out or is somebody else's.
        """
        ...

    async def release(self, held: LockLease, /) -> bool:
        """Give a lock back; `False` when it was no longer the caller's."""
        ...

    async def wait(self, name: str, /, *, timeout: float) -> None:
        """Return when a lock may be free, at the latest after so many seconds of real time.

        Other tasks get a turn in any case.
        """
        ...
