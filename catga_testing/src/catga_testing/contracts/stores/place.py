"""The place of one test, the stores that a test opens over it, and the time they are asked to follow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Protocol, TypeVar, runtime_checkable

from catga_core import Clock
from catga_core.interfaces import Stores
from catga_testing.clock import ManualClock
from catga_testing.contracts.limits import PATIENCE

T = TypeVar("T")

StoresFactory = Callable[[Clock], Stores]
"""Makes one more set of stores, not yet started, over a test's place; leases and expiry follow the clock."""


@runtime_checkable
class Connection(Protocol):
    """The way between the stores of a test and their server, which the kit may cut."""

    async def cut(self) -> None:
        """Let nothing through, and end what is connected."""
        ...

    async def mend(self) -> None:
        """Let everything through again; return when new connections come through."""
        ...


class StoreTime:
    """The time of one test: moved where the storage follows the container's clock, waited for where it does not.

    Args:
        moves: Whether it can be moved.
        clock: The clock to give to stores.
    """

    def __init__(self, *, moves: bool, clock: Clock) -> None:
        self.clock = clock
        self.moves = moves
        """Whether it can be moved, and so stopped at a moment."""
        self.lease: float = 10.0 if moves else 0.6
        """Seconds of a lease that is to run out in the test."""
        self.ample: float = 3600.0
        """Seconds of a lease that does not."""

    async def passes(self, leases: float) -> None:
        """Let so many times the length of `lease` pass."""
        seconds = leases * self.lease
        if isinstance(self.clock, ManualClock):
            await self.clock.run_for(seconds)
        else:
            await asyncio.sleep(seconds)

    def about(self, seconds: float) -> float:
        """Return how far a time that the storage tells may be from so many seconds from now."""
        return 1e-3 if self.moves else max(2.0, 0.01 * seconds)


class Place:
    """Where the stores of one test keep their data: each `open` stands for one more process.

    Args:
        make: Makes one more set of stores.
        clock: Given to each.
    """

    def __init__(self, make: StoresFactory, clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._open: list[Stores] = []

    async def open(self) -> Stores:
        """Return one more set of stores, started."""
        stores = self._make(self._clock)
        self._open.append(stores)
        async with asyncio.timeout(PATIENCE):
            await stores.storage.start()
        return stores

    async def reopen(self, stores: Stores) -> Stores:
        """Stop a set of stores, and return another one in its stead."""
        await self.close(stores)
        return await self.open()

    async def close(self, stores: Stores) -> None:
        """Stop a set of stores."""
        self._open.remove(stores)
        async with asyncio.timeout(PATIENCE):
            await stores.storage.stop()

    async def close_all(self) -> None:
        """Stop what a test has left open, the last one first."""
        while self._open:
            await self.close(self._open[-1])


async def outside(call: Callable[[], Awaitable[T]]) -> T:
    """Return what a call gives outside of every unit of work, wherever it is made.

    Args:
        call: Called in its own task, with surroundings of its own.
    """

    async def called() -> T:
        return await call()

    async with asyncio.timeout(PATIENCE):
        return await asyncio.create_task(called(), context=Context())


async def turns(count: int) -> None:
    """Let everything else that is ready run, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
