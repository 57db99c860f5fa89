"""Hands the orders of a file in, and adds up what comes of it. It does not know where the handlers are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from io import FileIO

from catga_core import CatgaMediator

from .calls import Caller, Patience
from .inventory.messages import StockLevels
from .notifications.messages import Mailing, MailingReport
from .orders.messages import ListDecisions, ListUnfinished, Sales, SalesReport
from .report import Report
from .source import BadLine, OrderLine, read_orders
from .tally import Tally

# After so many orders that nobody could decide, the others would fare no better.
_HOPELESS = 20
# Seconds without progress after which events are not waited for any more, and between two looks at them.
_STUCK, _LOOK = 30.0, 0.02
_PAGE = 1000


class Driver:
    """One run of a file of orders.

    Args:
        caller: Sends the orders.
        concurrency: How many orders may be under way at the same time.
        before: What orders has decided up to now.
        known: The numbers of those orders.
    """

    def __init__(self, caller: Caller, *, concurrency: int, before: Sales, known: frozenset[str]) -> None:
        self.tally = Tally(known)
        self.under_way = 0
        self._before = before
        self._caller = caller
        self._free = asyncio.Semaphore(concurrency)

    @classmethod
    async def begin(cls, mediator: CatgaMediator, patience: Patience, *, concurrency: int) -> Driver:
        """Wait for what earlier runs left under way, and return a driver that goes on from there.

        Args:
            mediator: Where the orders are sent.
            patience: How long to keep asking.
            concurrency: How many orders may be under way at the same time.

        Raises:
            CatgaError: When orders does not answer.
        """
        caller = Caller(mediator, patience)
        await _finished(caller)
        before = (await caller.ask(SalesReport())).unwrap()
        known: set[str] = set()
        # No more than those: another run may be going on on the same store.
        while missing := before.decided - len(known):
            asked = ListDecisions(len(known), min(missing, _PAGE))
            page = (await caller.ask(asked)).unwrap()
            known.update(decision.order_id for decision in page)
        return cls(caller, concurrency=concurrency, before=before, known=frozenset(known))

    async def run(self, source: FileIO) -> float:
        """Hand every order in and return the seconds it took; give up when it is of no use."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as orders, aclosing(read_orders(source)) as lines:
            async for line in lines:
                if len(self.tally.undecided) >= _HOPELESS:
                    break
                self.tally.read += 1
                if isinstance(line, BadLine):
                    self.tally.bad(line)
                    continue
                await self._free.acquire()
                orders.create_task(self._hand_in(line))
        return time.perf_counter() - began

    async def in_the_middle(self) -> None:
        """Wait until an order has just come in, and so is not decided."""
        before = await _unfinished(self._caller)
        while not await _unfinished(self._caller) - before:
            pass

    async def turned_away(self) -> None:
        """Wait until a request has found nobody who handles it."""
        await self._caller.found_nobody.wait()

    async def report(self, title: str, seconds: float, broken: Sequence[str] = ()) -> Report:
        """Ask every module for its totals, when all events are handled.

        Args:
            title: Which composition it was.
            seconds: How long it took.
            broken: What was broken on the way.

        Raises:
            CatgaError: When a module does not answer.
        """
        mailing = await self._everybody_told()
        sales = await self._caller.ask(SalesReport())
        stock = await self._caller.ask(StockLevels())
        return Report.of(
            title,
            self.tally,
            before=self._before,
            sales=sales.unwrap(),
            stock=stock.unwrap(),
            mailing=mailing,
            sent_again=self._caller.sent_again,
            broken=broken,
            seconds=seconds,
        )

    async def _hand_in(self, line: OrderLine) -> None:
        began = time.perf_counter()
        self.under_way += 1
        try:
            # The same id each time it is sent: that is how orders knows it from another order of the same number.
            message_id = f"{line.order.order_id}@{line.number}"
            result = await self._caller.ask(line.order, message_id=message_id)
        finally:
            self.under_way -= 1
            self._free.release()
        self.tally.seconds.append(time.perf_counter() - began)
        if result.is_success:
            self.tally.accept(line.order, result.value)
        else:
            self.tally.refuse(line.number, line.order, result.error)

    async def _everybody_told(self) -> Mailing:
        """Wait until every order is finished, and every event has left the outbox of orders and the queues of notifications."""
        seen: tuple[int, int, Mailing] | None = None
        changed = time.monotonic()
        while True:
            # In this order: an event is in the queues before it leaves the outbox.
            sales = (await self._caller.ask(SalesReport())).unwrap()
            mailing = (await self._caller.ask(MailingReport())).unwrap()
            # The saga of an undecided order retries until it is decided.
            under_way = 0 if self.tally.undecided else sales.under_way
            if (now := (under_way, sales.to_tell, mailing)) != seen:
                seen, changed = now, time.monotonic()
            done = not under_way and not sales.to_tell and not mailing.waiting
            if done or time.monotonic() - changed > _STUCK:
                return mailing
            await asyncio.sleep(_LOOK)


async def _unfinished(caller: Caller) -> set[str]:
    return set((await caller.ask(ListUnfinished())).unwrap())


async def _finished(caller: Caller) -> None:
    """Wait until the orders that are under way now are finished; another run on the same store may go on with further ones."""
    left = await _unfinished(caller)
    changed = time.monotonic()
    while left and time.monotonic() - changed <= _STUCK:
        await asyncio.sleep(_LOOK)
        still = left & await _unfinished(caller)
        if still != left:
            left, changed = still, time.monotonic()
