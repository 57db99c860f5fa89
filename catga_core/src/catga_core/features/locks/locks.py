"""`Locks`: named locks across processes, renewed while they are held."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar, Literal

from catga_core.clock import Clock
from catga_core.errors import LockTimeoutError
from catga_core.interfaces.locks import LockLease, LockProvider
from catga_core.log import LOCK_NOT_RELEASED, logger
from catga_core.option_checks import MOST_SECONDS, check_name, check_seconds
from catga_core.runtime.lease import Lease
from catga_core.runtime.retry import yield_to_winner
from catga_core.runtime.shielded import acquire_or_release, cleanup

OnLoss = Literal["cancel", "flag"]
"""What happens to a block when its lock is lost: it is cancelled, or only `lock.lost` becomes true."""

_LOOK_SECONDS = 1.0  # how long one wait lasts: a test's clock may end a lease without a wake-up


class HeldLock:
    """A lock that is held; `Locks.hold` yields it.

    Args:
        name: Name of the lock.
        lease: Keeps it.
    """

    __slots__ = ("_lease", "name")

    def __init__(self, name: str, lease: Lease[LockLease]) -> None:
        self.name: str = name
        self._lease = lease

    @property
    def fencing_token(self) -> int:
        """Rises with every holder of this lock: a store that receives it can refuse the writes of a former holder."""
        return self._lease.held.fencing_token

    @property
    def lost(self) -> bool:
        """Whether the lock is no longer held: its time is over, or another process has it."""
        return self._lease.lost is not None

    def check(self) -> None:
        """Do nothing while the lock is held.

        Raises:
            LeaseLostError: The lock is lost.
        """
        self._lease.check()


class Locks:
    """Named locks over the container's `LockProvider`.

    A lock belongs to its block, not to its task: code that takes it again inside of the block waits for itself.

    Args:
        provider: Where locks are kept.
        clock: The container's clock.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, provider: LockProvider, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock

    def hold(
        self, name: str, *, lease: float = 30.0, timeout: float | None = None, on_loss: OnLoss = "cancel"
    ) -> AbstractAsyncContextManager[HeldLock]:
        """Hold a lock while a block runs; it is renewed meanwhile and released after the block.

        The lease counts from before the call that acquired the lock.

        Args:
            name: What to lock, not empty; shared by every process that uses the name.
            lease: Seconds after which the lock of a dead holder is free.
            timeout: Real seconds to wait for the lock; 0 does not wait, `None` waits without limit.
            on_loss: `"cancel"` cancels the block when the lock is lost (leaving the block then raises `LeaseLostError`),
                `"flag"` only sets `lock.lost`.

        Returns:
            An async context manager that yields the `HeldLock`.

        Raises:
            CatgaError: `LOCKED`, on entering: another process holds the lock for longer than `timeout`.
            LeaseLostError: On leaving: the lock was lost. On entering: the store answered after the lease was over.
            ValueError: An argument is out of range.
        """
        _check(name, lease, timeout, on_loss)
        return self._hold(name, lease, timeout, on_loss)

    def try_hold(
        self, name: str, *, lease: float = 30.0, on_loss: OnLoss = "cancel"
    ) -> AbstractAsyncContextManager[HeldLock | None]:
        """Hold a lock while a block runs, or yield `None` at once where another process holds it.

        Args:
            name: As in `hold`.
            lease: As in `hold`.
            on_loss: As in `hold`.

        Returns:
            An async context manager that yields the `HeldLock` or `None`.

        Raises:
            LeaseLostError: As in `hold`.
            ValueError: An argument is out of range.
        """
        _check(name, lease, None, on_loss)
        return self._try_hold(name, lease, on_loss)

    @asynccontextmanager
    async def _hold(
        self, name: str, lease: float, timeout: float | None, on_loss: OnLoss
    ) -> AsyncGenerator[HeldLock]:
        held, began = await self._wait_for(name, lease, timeout)
        async with self._holding(held, began, lease, on_loss) as lock:
            yield lock

    @asynccontextmanager
    async def _try_hold(self, name: str, lease: float, on_loss: OnLoss) -> AsyncGenerator[HeldLock | None]:
        began = self._clock.monotonic()
        held = await self._take(name, lease)
        if held is None:
            yield None
            return
        async with self._holding(held, began, lease, on_loss) as lock:
            yield lock

    @asynccontextmanager
    async def _holding(
        self, held: LockLease, began: float, seconds: float, on_loss: OnLoss
    ) -> AsyncGenerator[HeldLock]:
        async def renew(held: LockLease) -> LockLease:
            return await self._provider.renew(held, lease=seconds)

        lease = Lease(
            held,
            renew,
            seconds=seconds,
            began=began,
            clock=self._clock,
            subject=_shown(held.name),
            cancel=on_loss == "cancel",
        )
        try:
            async with lease:
                yield HeldLock(held.name, lease)
        finally:
            await cleanup(self._release(lease.held))

    async def _wait_for(self, name: str, lease: float, timeout: float | None) -> tuple[LockLease, float]:
        """Return the lock, and the clock's time from before the call that acquired it."""
        loop = asyncio.get_running_loop()
        ends_at = math.inf if timeout is None else loop.time() + timeout
        while True:
            began = self._clock.monotonic()
            held = await self._take(name, lease)
            if held is not None:
                return held, began
            asked_at = loop.time()
            left = ends_at - asked_at
            if timeout is not None and left <= 0:
                raise LockTimeoutError(name, timeout)
            await self._provider.wait(name, timeout=min(left, _LOOK_SECONDS))
            await yield_to_winner(asked_at, most=left)

    async def _take(self, name: str, lease: float) -> LockLease | None:
        return await acquire_or_release(self._provider.acquire(name, lease=lease), self._undo)

    async def _undo(self, held: LockLease | None) -> None:
        if held is not None:
            await self._release(held)

    async def _release(self, held: LockLease) -> None:
        try:
            await self._provider.release(held)
        except Exception as error:  # noqa: BLE001 - the block's own outcome counts; the lease ends by itself
            logger().warning(LOCK_NOT_RELEASED, lock=held.name, error=f"{type(error).__name__}: {error}")


def _shown(name: str) -> str:
    return f"the lock {name!r}"


def _check(name: object, lease: object, timeout: object, on_loss: object) -> None:
    check_name("name", name)
    check_seconds("lease", lease, most=MOST_SECONDS, of=_shown(str(name)))
    check_seconds("timeout", timeout, least=0, optional=True, of=_shown(str(name)))
    if on_loss not in {"cancel", "flag"}:
        msg = f"on_loss must be 'cancel' or 'flag'; got {on_loss!r}. Pass one of them."
        raise ValueError(msg)
