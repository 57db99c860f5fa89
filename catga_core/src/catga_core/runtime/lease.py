"""Keeps a lease while a block of code runs, and tells the block when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from catga_core.clock import Clock
from catga_core.errors import LeaseLostError
from catga_core.log import LEASE_LOST, LEASE_NOT_RENEWED, logger
from catga_core.runtime.unit_of_work import outside_of_units_of_work


class Lease(Protocol):
    """What is held for a while: a lock, a claim."""

    @property
    def fencing_token(self) -> int:
        """Rises with every holder."""
        ...


L = TypeVar("L", bound=Lease)


class Tenure(Generic[L]):
    """Renews a lease at a third of its time, for as long as an `async with` block lasts.

    When the lease is lost, `lost` is set. With `cancel` the block is cancelled as well, and leaving it raises the
    `LeaseLostError`; a cancellation that came from elsewhere stays one.

    Parameters:
        held: the lease.
        renew: extends it; raises `LeaseLostError` when it is somebody else's.
        lease: its length in seconds.
        clock: what its length is measured by.
        thing: what is leased, for errors, such as `the lock 'stock'`.
        cancel: whether the block is cancelled when the lease is lost.
        strict: whether it is lost as soon as it could not be renewed in time, as for a lock. Without, only when another
            is known to have it: for what is written in the end by a store that refuses a former holder.
    """

    def __init__(
        self,
        held: L,
        renew: Callable[[L], Awaitable[L]],
        *,
        lease: float,
        clock: Clock,
        thing: str,
        cancel: bool,
        strict: bool = True,
    ) -> None:
        self.held: L = held
        self.lost: LeaseLostError | None = None
        self._renew = renew
        self._lease = lease
        self._clock = clock
        self._thing = thing
        self._cancel = cancel
        self._strict = strict
        self._leaving = False
        self._cancelled = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Tenure[L]:
        task = self._task = asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        # A lease is extended at once, not with the commit of whatever unit of work its holder is in.
        self._renewing = asyncio.create_task(self._keep(), context=outside_of_units_of_work())
        return self

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()
        if not self._cancelled or self._task is None:
            return
        # As asyncio.timeout does: our own cancellation ends here, anybody else's goes on.
        if self._task.uncancel() > self._cancelling:
            return
        if self.lost is not None and (cls is None or issubclass(cls, asyncio.CancelledError)):
            raise self.lost from error

    def end(self) -> None:
        """Renew no longer, and lose nothing any more: what was held for is being written."""
        self._leaving = True
        if self._renewing is not None:
            # Not awaited: it does nothing from here on but end.
            self._renewing.cancel()
            self._renewing = None

    async def _keep(self) -> None:
        clock, lease = self._clock, self._lease
        kept_until = clock.monotonic() + lease
        pause = lease / 3
        while True:
            await clock.sleep(pause)
            began = clock.monotonic()
            left = kept_until - began
            if self._strict and left <= 0:
                self._lose(LeaseLostError(self._thing, "it could not be renewed in time"))
                return
            try:
                # A store that hangs must not keep the holder from learning that its time is over.
                async with asyncio.timeout(left if self._strict else None):
                    self.held = await self._renew(self.held)
            except LeaseLostError as error:
                self._lose(error)
                return
            except Exception as error:  # noqa: BLE001 - the lease still runs, so it is tried again
                logger().warning(
                    LEASE_NOT_RENEWED, thing=self._thing, error=f"{type(error).__name__}: {error}"
                )
                pause = lease / 10
                if self._strict:
                    pause = min(pause, max(kept_until - clock.monotonic(), 0.0))
            else:
                kept_until = began + lease
                pause = lease / 3

    def _lose(self, error: LeaseLostError) -> None:
        if self._leaving:
            return
        self.lost = error
        logger().warning(LEASE_LOST, thing=self._thing, fencing_token=self.held.fencing_token)
        if self._cancel and self._task is not None:
            self._cancelled = self._task.cancel()
