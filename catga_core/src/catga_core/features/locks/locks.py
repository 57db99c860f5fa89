"""`Locks`: one holder at a time across processes, waited for, renewed, and told when it is lost."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar, Literal

from catga_core.clock import Clock
from catga_core.errors import LockTimeoutError
from catga_core.interfaces.locks import LockLease, LockProvider
from catga_core.log import LOCK_NOT_RELEASED, logger
from catga_core.runtime.lease import Tenure
from catga_core.runtime.shielded import given, to_its_end

OnLoss = Literal["cancel", "flag"]
"""What a holder's block meets when its lock is lost: it is cancelled, or only finds `lock.lost` true."""

_LOOK_SECONDS = 1.0  # how long one wait lasts: a test's clock may end a lease without anybody being told


class HeldLock:
    """A lock that is held; it is given by `Locks.hold`.

    Parameters:
        name: what is locked.
        tenure: keeps it.
    """

    __slots__ = ("_tenure", "name")

    def __init__(self, name: str, tenure: Tenure[LockLease]) -> None:
        self.name: str = name
        self._tenure = tenure

    @property
    def fencing_token(self) -> int:
        """Rises with every holder of this lock: a store that is given it can refuse the writes of a former one."""
        return self._tenure.held.fencing_token

    @property
    def lost(self) -> bool:
        """Whether it is no longer held: its time ran out, and another may have it."""
        return self._tenure.lost is not None

    def check(self) -> None:
        """Do nothing while the lock is held.

        Raises:
            LeaseLostError: when it is lost.
        """
        if self._tenure.lost is not None:
            raise self._tenure.lost


class Locks:
    """Named locks over the container's `LockProvider`.

    A lock belongs to its block, not to its task: taken again inside, by the same code, it waits for itself.

    Parameters:
        provider: where locks are kept.
        clock: the container's.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, provider: LockProvider, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock

    def hold(
        self, name: str, *, lease: float = 30.0, timeout: float | None = None, on_loss: OnLoss = "cancel"
    ) -> AbstractAsyncContextManager[HeldLock]:
        """Return a block that runs while the lock is held; it is renewed meanwhile, and given back after it.

        Parameters:
            name: what to lock, not empty; every process that names it shares it.
            lease: seconds after which a holder that died no longer has it.
            timeout: real seconds to wait for it, 0 for not at all, `None` for no limit.
            on_loss: whether the block is cancelled when the lock is lost (then leaving the block raises
                `LeaseLostError`), or only flagged (`lock.lost`).

        Raises:
            CatgaError: `LOCKED`, on entering, when another has it for longer than `timeout`; `LeaseLostError` on leaving.
            ValueError: for a value that cannot work.
        """
        _check(name, lease, timeout, on_loss)
        return self._hold(name, lease, timeout, on_loss)

    def try_hold(
        self, name: str, *, lease: float = 30.0, on_loss: OnLoss = "cancel"
    ) -> AbstractAsyncContextManager[HeldLock | None]:
        """Return a block that is given the lock, or `None`, at once, where another has it.

        Parameters:
            name: as in `hold`.
            lease: as in `hold`.
            on_loss: as in `hold`.

        Raises:
            CatgaError: `LeaseLostError` on leaving, as in `hold`.
            ValueError: for a value that cannot work.
        """
        _check(name, lease, None, on_loss)
        return self._try_hold(name, lease, on_loss)

    @asynccontextmanager
    async def _hold(
        self, name: str, lease: float, timeout: float | None, on_loss: OnLoss
    ) -> AsyncGenerator[HeldLock]:
        held = await self._wait_for(name, lease, timeout)
        async with self._holding(held, lease, on_loss) as lock:
            yield lock

    @asynccontextmanager
    async def _try_hold(self, name: str, lease: float, on_loss: OnLoss) -> AsyncGenerator[HeldLock | None]:
        held = await self._take(name, lease)
        if held is None:
            yield None
            return
        async with self._holding(held, lease, on_loss) as lock:
            yield lock

    @asynccontextmanager
    async def _holding(self, held: LockLease, lease: float, on_loss: OnLoss) -> AsyncGenerator[HeldLock]:
        async def renew(held: LockLease) -> LockLease:
            return await self._provider.renew(held, lease=lease)

        tenure = Tenure(
            held, renew, lease=lease, clock=self._clock, thing=_shown(held.name), cancel=on_loss == "cancel"
        )
        try:
            async with tenure:
                yield HeldLock(held.name, tenure)
        finally:
            await to_its_end(self._give_back(tenure.held))

    async def _wait_for(self, name: str, lease: float, timeout: float | None) -> LockLease:
        loop = asyncio.get_running_loop()
        ends_at = math.inf if timeout is None else loop.time() + timeout
        while True:
            held = await self._take(name, lease)
            if held is not None:
                return held
            began = loop.time()
            left = ends_at - began
            if timeout is not None and left <= 0:
                raise LockTimeoutError(name, timeout)
            await self._provider.wait(name, timeout=min(left, _LOOK_SECONDS))
            if loop.time() - began < 0.001:
                # "May be free" said at once and again is no reason to spin; and who waits together asks apart.
                await asyncio.sleep(min(random.uniform(0.002, 0.02), max(left, 0.0)))  # noqa: S311 - no secret

    async def _take(self, name: str, lease: float) -> LockLease | None:
        return await given(self._provider.acquire(name, lease=lease), self._undo)

    async def _undo(self, held: LockLease | None) -> None:
        if held is not None:
            await self._give_back(held)

    async def _give_back(self, held: LockLease) -> None:
        try:
            await self._provider.release(held)
        except Exception as error:  # noqa: BLE001 - the block's own outcome counts; the lease ends by itself
            logger().warning(LOCK_NOT_RELEASED, lock=held.name, error=f"{type(error).__name__}: {error}")


def _shown(name: str) -> str:
    return f"the lock {name!r}"


def _check(name: object, lease: float, timeout: float | None, on_loss: object) -> None:
    if not (isinstance(name, str) and name):
        msg = f"name={name!r} names no lock: use a text that is not empty"
        raise ValueError(msg)
    if not (lease > 0 and math.isfinite(lease)):
        msg = f"lease={lease} is no time to hold {_shown(name)}: use seconds above 0"
        raise ValueError(msg)
    if timeout is not None and not timeout >= 0:
        msg = f"timeout={timeout} is no time to wait for {_shown(name)}: use seconds, or None for no limit"
        raise ValueError(msg)
    if on_loss not in {"cancel", "flag"}:
        msg = f"on_loss={on_loss!r} is not possible: use 'cancel' or 'flag'"
        raise ValueError(msg)
