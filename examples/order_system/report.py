"""What a run came to: the totals, and whether they balance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from .inventory.messages import StockLevel
from .notifications.messages import Mailing
from .orders.messages import OrderRefusal, Sales
from .source import BadLine
from .tally import INVALID, NOT_AN_ORDER, Tally, Undecided

# These say nothing new of an order: there is no decision behind them, or there was one before.
_NOT_DECIDED = frozenset({NOT_AN_ORDER, INVALID, str(OrderRefusal.DUPLICATE_ORDER)})


class Totals(msgspec.Struct, frozen=True):
    """What two runs of the same orders have to agree on."""

    read: int
    accepted: int
    refused: dict[str, int]
    revenue: Decimal
    charges: int
    notifications: int
    stock_left: dict[str, int]


class Report(msgspec.Struct, frozen=True):
    """One run.

    Parameters:
        title: which composition it was.
        totals: what it came to.
        mismatches: the totals that do not balance, one sentence each.
        bad_lines: the lines that are no orders.
        undecided: the orders that nobody could decide.
        sent_again: how many messages were sent more than once, by whoever sent them.
        caught_up: how many notifications were sent without their event.
        seconds: how long it took.
        orders_per_second: how many lines were done in a second.
        p50_ms: half of the orders had their answer in this many milliseconds.
        p99_ms: ninety-nine of a hundred orders had.
    """

    title: str
    totals: Totals
    mismatches: tuple[str, ...]
    bad_lines: tuple[BadLine, ...]
    undecided: tuple[Undecided, ...]
    sent_again: int
    caught_up: int
    seconds: float
    orders_per_second: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(
        cls,
        title: str,
        tally: Tally,
        *,
        sales: Sales,
        stock: Sequence[StockLevel],
        mailing: Mailing,
        sent_again: int,
        seconds: float,
    ) -> Report:
        """Put together what the driver has seen and what the modules say."""
        totals = Totals(
            read=tally.read,
            accepted=tally.accepted,
            refused=dict(sorted(tally.refused.items())),
            revenue=tally.revenue,
            charges=sales.charges,
            notifications=mailing.sent,
            stock_left={level.product: level.left for level in stock},
        )
        return cls(
            title=title,
            totals=totals,
            mismatches=tuple(_mismatches(tally, sales, stock, mailing)),
            bad_lines=tuple(tally.bad_lines),
            undecided=tuple(sorted(tally.undecided, key=lambda order: order.number)),
            sent_again=sent_again + sales.sent_again,
            caught_up=mailing.caught_up,
            seconds=round(seconds, 3),
            orders_per_second=round(tally.done / seconds, 1),
            p50_ms=_percentile(tally.seconds, 0.50),
            p99_ms=_percentile(tally.seconds, 0.99),
        )


def differences(one: Totals, other: Totals) -> list[str]:
    """Say in what two runs differ."""
    left, right = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return [f"{name}: {left[name]} and {right[name]}" for name in left if left[name] != right[name]]


def _mismatches(tally: Tally, sales: Sales, stock: Sequence[StockLevel], mailing: Mailing) -> Iterator[str]:
    refused = tally.refused.total()
    if tally.read != tally.accepted + refused:
        yield f"orders read = accepted + refused: {tally.read} = {tally.accepted} + {refused}"
    if tally.accepted != sales.accepted:
        yield f"accepted = orders' own count: {tally.accepted} = {sales.accepted}"
    decided_no = {reason: count for reason, count in tally.refused.items() if reason not in _NOT_DECIDED}
    if decided_no != sales.refused:
        yield f"refused = orders' own count: {_counts(decided_no)} = {_counts(sales.refused)}"
    if tally.revenue != sales.revenue:
        yield f"revenue = sum of the accepted orders: {sales.revenue} = {tally.revenue}"
    if not tally.accepted == sales.charges == len(tally.charges):
        yield f"charges = accepted: {sales.charges} (answered: {len(tally.charges)}) = {tally.accepted}"
    decided = sales.accepted + sum(sales.refused.values())
    if mailing.sent != decided:
        yield f"notifications = decided orders: {mailing.sent} = {decided}"
    for level in stock:
        if level.before - level.reserved != level.left:
            yield (
                f"stock before - reserved = stock left of {level.product}: "
                f"{level.before} - {level.reserved} = {level.left}"
            )
        if level.reserved != tally.sold[level.product]:
            yield f"reserved = sold of {level.product}: {level.reserved} = {tally.sold[level.product]}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "none"


def _percentile(seconds: Sequence[float], part: float) -> float:
    if not seconds:
        return 0.0
    ordered = sorted(seconds)
    return round(1000 * ordered[min(int(part * len(ordered)), len(ordered) - 1)], 2)
