"""Hands the orders of a file in, and adds up what comes of it. It does not know where the handlers are."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from io import FileIO

from catga_core import CatgaMediator

from .calls import Caller, Patience
from .inventory.messages import StockLevels
from .notifications.messages import CatchUp
from .orders.messages import SalesReport
from .report import Report
from .source import BadLine, OrderLine, read_orders
from .tally import Tally

# Long enough for a server to be restarted and everybody to find the way back; short enough to give up some time.
_STUBBORN = Patience(attempts=10, timeout=3.0, pause=0.1)
# After so many orders that nobody could decide, the others would fare no better.
_HOPELESS = 20


class Driver:
    """One run of a file of orders.

    Parameters:
        mediator: where the orders are sent.
        concurrency: how many orders may be under way at the same time.
    """

    def __init__(self, mediator: CatgaMediator, *, concurrency: int) -> None:
        self.tally = Tally()
        self._caller = Caller(mediator)
        self._free = asyncio.Semaphore(concurrency)

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

    async def report(self, title: str, seconds: float) -> Report:
        """Ask every module for its totals.

        Raises:
            CatgaError: when a module does not answer.
        """
        mailing = await self._caller.ask(CatchUp(), patience=_STUBBORN)
        sales = await self._caller.ask(SalesReport(), patience=_STUBBORN)
        stock = await self._caller.ask(StockLevels(), patience=_STUBBORN)
        return Report.of(
            title,
            self.tally,
            sales=sales.unwrap(),
            stock=stock.unwrap(),
            mailing=mailing.unwrap(),
            sent_again=self._caller.sent_again,
            seconds=seconds,
        )

    async def _hand_in(self, line: OrderLine) -> None:
        began = time.perf_counter()
        try:
            # The same id each time it is sent: that is how orders knows it from another order of the same number.
            message_id = f"{line.order.order_id}@{line.number}"
            result = await self._caller.ask(line.order, message_id=message_id, patience=_STUBBORN)
        finally:
            self._free.release()
        self.tally.seconds.append(time.perf_counter() - began)
        if result.is_success:
            self.tally.accept(line.order, result.value)
        else:
            self.tally.refuse(line.number, line.order, result.error)
