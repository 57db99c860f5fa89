"""What a person is shown: progress on the way and the totals at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress

from .calls import BETWEEN_SERVICES
from .report import Report
from .tally import Tally

_BAD_LINES_SHOWN = 5
_COLUMNS = 3


def text_of(report: Report) -> str:
    """Lay a report out."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    totals = report.totals
    yield f"== {report.title}"
    yield f"  lines read    {totals.read:>12,}"
    yield f"  accepted      {totals.accepted:>12,}"
    yield f"  refused       {sum(totals.refused.values()):>12,}"
    for reason, count in sorted(totals.refused.items(), key=lambda entry: -entry[1]):
        yield f"    {reason:<18}{count:>6,}"
    for order in report.undecided[:_BAD_LINES_SHOWN]:
        yield f"    UNDECIDED line {order.number}, {order.order_id}: {order.error}"
    if report.bad_lines:
        yield "  invalid lines"
    for line in report.bad_lines[:_BAD_LINES_SHOWN]:
        yield f"    line {line.number}: {line.reason}"
    if len(report.bad_lines) > _BAD_LINES_SHOWN:
        yield f"    and {len(report.bad_lines) - _BAD_LINES_SHOWN} more (--json lists them all)"
    yield f"  revenue       {totals.revenue:>12,.2f}"
    yield f"  charges       {totals.charges:>12,}"
    yield f"  notifications {totals.notifications:>12,}   (one for each of {report.notified:,} orders)"
    yield f"  compensated   {totals.compensated:>12,}   (goods put back for refused orders)"
    if report.decided_before:
        yield f"  decided before{report.decided_before:>12,}"
    yield f"  sent again    {report.sent_again:>12,}"
    yield f"  sagas resumed {report.resumed:>12,}"
    yield f"  stock left    {sum(totals.stock_left.values()):>12,}"
    products = [f"{product:<18}{left:>4}" for product, left in totals.stock_left.items()]
    for start in range(0, len(products), _COLUMNS):
        yield "    " + "   ".join(products[start : start + _COLUMNS])
    yield (
        f"  {report.seconds:.2f} s, {report.orders_per_second:,.0f} orders/s, "
        f"p50 {report.p50_ms:.1f} ms, p99 {report.p99_ms:.1f} ms"
    )
    yield from _remarks(report)


def _remarks(report: Report) -> Iterator[str]:
    if report.broken:
        yield "  broken on the way"
    for broken in report.broken:
        yield f"    {broken}"
    for mismatch in report.mismatches:
        yield f"  DOES NOT BALANCE  {mismatch}"
    if not report.mismatches:
        yield "  everything balances"
    if not report.totals.read:
        yield "  there were no orders in the source"
    elif not report.totals.accepted:
        yield "  no order was accepted: is this the right file?"


def text_of_trouble(report: Report) -> str:
    """Say in one line what the figures of a run of services owe to what was killed on the way."""
    if not report.sent_again:
        return "nothing had to be sent again"
    return (
        "sent again and p99: what has no answer, as the requests that a killed process held, is sent again after "
        f"{BETWEEN_SERVICES.timeout:g} s"
    )


class Narrator:
    """Tells on the standard error what is going on: a line that changes on a terminal, few lines elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Tell something that happened."""
        if not self._quiet:
            print(f"\r\033[K{text}" if self._terminal else text, file=sys.stderr, flush=True)

    @asynccontextmanager
    async def following(self, tally: Tally) -> AsyncGenerator[None, None]:
        """Show how a run gets on."""
        if self._quiet:
            yield
            return
        ticker = asyncio.create_task(self._tick(tally))
        try:
            yield
        finally:
            ticker.cancel()
            with suppress(asyncio.CancelledError):
                await ticker
            if self._terminal:
                print("\r\033[K", end="", file=sys.stderr, flush=True)

    async def _tick(self, tally: Tally) -> None:
        began = time.perf_counter()
        done = 0
        while True:
            await asyncio.sleep(0.1 if self._terminal else 2.0)
            if tally.done == done:
                continue
            done = tally.done
            rate = done / (time.perf_counter() - began)
            text = f"{done:,} of {tally.read:,} read: {tally.sums.accepted:,} accepted, {rate:,.0f}/s"
            if self._terminal:
                print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            else:
                print(text, file=sys.stderr, flush=True)
