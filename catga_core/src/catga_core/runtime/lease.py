"""`Lease`: keep a lock or a claim while a block runs, and know when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from catga_core.clock import Clock
from catga_core.errors import LeaseLostError
from catga_core.log import LEASE_LOST, LEASE_NOT_RENEWED, logger
from catga_core.runtime.tasks import background_task


class Leased(Protocol):
    """What a store grants for a limited time: a lock, a claim."""

    @property
    def fencing_token(self) -> int:
        """A number that rises with every holder."""
        ...


L = TypeVar("L", bound=Leased)


class Lease(Generic[L]):
    """Renews a lock or a claim at a third of its time while an `async with` block runs.

    The time counts from before the call that acquired or renewed it, because the store may have granted it at the
    beginning of a slow call. When the lease is lost, `lost` is set. With `cancel` the block is cancelled as well, and
    leaving it raises the `LeaseLostError`; a cancellation from elsewhere stays a cancellation.

    Args:
        held: What the store granted.
        renew: Extends it; raises `LeaseLostError` when another holder has it.
        seconds: Length of the lease.
        began: `clock.monotonic()` from before the call that acquired it.
        clock: Measures the lease.
        subject: What is leased, for errors, such as `the lock 'stock'`.
        cancel: Whether the block is cancelled when the lease is lost.
        strict: Whether the lease is lost when its time is over without a renewal, as for a lock. Otherwise it is lost
            only when another holder is known: for work whose last write a store refuses from a former holder.
    """

    def __init__(
        self,
        held: L,
        renew: Callable[[L], Awaitable[L]],
        *,
        seconds: float,
        began: float,
        clock: Clock,
        subject: str,
        cancel: bool,
        strict: bool = True,
    ) -> None:
        self.held: L = held
        self._renew = renew
        self._seconds = seconds
        self._until = began + seconds
        self._clock = clock
        self._subject = subject
        self._cancel = cancel
        self._strict = strict
        self._lost: LeaseLostError | None = None
        self._announced = False
        self._ended = False
        self._cancelled = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._renewing: asyncio.Task[None] | None = None

    @property
    def lost(self) -> LeaseLostError | None:
        """Why the lease is lost, `None` while it is held. Decided by the clock too, not only by the last renewal."""
        if self._lost is None and self._strict and not self._ended and self._clock.monotonic() >= self._until:
            self._lost = LeaseLostError(
                self._subject, "its time is over, and it could not be renewed in time"
            )
            if self._task is not None:
                # Not at once: a task that cancels itself would be cancelled wherever it awaits next, even after the block.
                self._task.get_loop().call_soon(self._announce)
        return self._lost

    def check(self) -> None:
        """Do nothing while the lease is held.

        Raises:
            LeaseLostError: The lease is lost.
        """
        if (lost := self.lost) is not None:
            raise lost

    async def __aenter__(self) -> Self:
        """Begin to renew.

        Raises:
            LeaseLostError: The store's answer took longer than the lease.
        """
        self.check()
        task = self._task = asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        # An empty context: a renewal is written at once, not with the commit of the holder's unit of work.
        self._renewing = background_task(self._keep(), context=Context())
        return self

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop renewing.

        Raises:
            LeaseLostError: The lease was lost, and `cancel` is set.
        """
        lost = self.lost
        self.end()
        # As asyncio.timeout does: the lease's own cancellation ends here, another one goes on.
        if self._cancelled and self._task is not None and self._task.uncancel() > self._cancelling:
            return
        if lost is None or not self._cancel:
            return
        if cls is None or (self._cancelled and issubclass(cls, asyncio.CancelledError)):
            raise lost from error

    def end(self) -> None:
        """Renew no longer, and lose nothing from here on: the work that needed the lease is recorded."""
        self._ended = True
        if self._renewing is not None:
            # Not awaited: from here on it only ends.
            self._renewing.cancel()
            self._renewing = None

    async def _keep(self) -> None:
        clock, third = self._clock, self._seconds / 3
        pause = max(self._until - 2 * third - clock.monotonic(), 0.0)
        while True:
            await clock.sleep(pause)
            if self.lost is not None:
                self._announce()
                return
            began = clock.monotonic()
            try:
                # A store that hangs must not keep the holder from learning that its time is over.
                async with asyncio.timeout(self._until - began if self._strict else None):
                    self.held = await self._renew(self.held)
            except LeaseLostError as error:
                self._lost = self._lost or error
                self._announce()
                return
            except Exception as error:  # noqa: BLE001 - the lease is still held, so the renewal is tried again
                logger().warning(
                    LEASE_NOT_RENEWED, thing=self._subject, error=f"{type(error).__name__}: {error}"
                )
                pause = self._seconds / 10
                if self._strict:
                    pause = min(pause, max(self._until - clock.monotonic(), 0.0))
            else:
                self._until = began + self._seconds
                pause = max(began + third - clock.monotonic(), 0.0)

    def _announce(self) -> None:
        if self._ended or self._announced:
            return
        self._announced = True
        logger().warning(LEASE_LOST, thing=self._subject, fencing_token=self.held.fencing_token)
        if self._cancel and self._task is not None:
            self._cancelled = self._task.cancel()
