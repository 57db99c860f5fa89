"""What a run came to: the totals, and whether they balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from .inventory.messages import StockLevel
from .notifications.messages import Mailing
from .orders.messages import Sales
from .source import BadLine
from .tally import NOT_DECIDED, Sums, Tally, Undecided


class Totals(msgspec.Struct, frozen=True):
    """What two runs of the same orders have to agree on."""

    read: int
    accepted: int
    refused: dict[str, int]
    revenue: Decimal
    charges: int
    notifications: int
    compensated: int
    stock_left: dict[str, int]


class Report(msgspec.Struct, frozen=True):
    """One run.

    Args:
        title: Which composition it was.
        totals: What it came to.
        mismatches: The totals that do not balance, one sentence each.
        bad_lines: The lines that are not valid orders.
        undecided: The orders that nobody could decide.
        decided_before: How many of the orders an earlier run had decided; they got the same answer again.
        sent_again: How many messages were sent more than once, by whoever sent them.
        resumed: How many orders were resumed in another process than the one that had begun them.
        notified: Number of orders that the notifications are about.
        broken: What was broken on the way, in the order it happened.
        seconds: How long it took.
        orders_per_second: How many lines were done in a second.
        p50_ms: Half of the orders had their answer in this many milliseconds.
        p99_ms: ninety-nine of a hundred orders had.
    """

    title: str
    totals: Totals
    mismatches: tuple[str, ...]
    bad_lines: tuple[BadLine, ...]
    undecided: tuple[Undecided, ...]
    decided_before: int
    sent_again: int
    resumed: int
    notified: int
    broken: tuple[str, ...]
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
        before: Sales,
        sales: Sales,
        stock: Sequence[StockLevel],
        mailing: Mailing,
        sent_again: int,
        broken: Sequence[str],
        seconds: float,
    ) -> Report:
        """Put together what the driver has seen and what the modules say."""
        totals = Totals(
            read=tally.read,
            accepted=tally.sums.accepted,
            refused=dict(sorted(tally.sums.refused.items())),
            revenue=tally.sums.revenue,
            charges=sales.charges,
            notifications=mailing.sent,
            compensated=sales.compensated,
            stock_left={level.product: level.left for level in stock},
        )
        return cls(
            title=title,
            totals=totals,
            mismatches=tuple(_mismatches(tally, before, sales, stock, mailing)),
            bad_lines=tuple(tally.bad_lines),
            undecided=tuple(sorted(tally.undecided, key=lambda order: order.number)),
            decided_before=tally.remembered,
            sent_again=sent_again + sales.sent_again,
            resumed=sales.resumed,
            notified=mailing.orders,
            broken=tuple(broken),
            seconds=round(seconds, 3),
            orders_per_second=round(tally.done / seconds, 1),
            p50_ms=_percentile(tally.seconds, 0.50),
            p99_ms=_percentile(tally.seconds, 0.99),
        )


def differences(one: Totals, other: Totals) -> list[str]:
    """Say in what two runs differ."""
    left, right = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return [f"{name}: {left[name]} and {right[name]}" for name in left if left[name] != right[name]]


def _mismatches(
    tally: Tally, before: Sales, sales: Sales, stock: Sequence[StockLevel], mailing: Mailing
) -> Iterator[str]:
    sums = tally.sums
    refused = sums.refused.total()
    if tally.read != sums.accepted + refused:
        yield f"lines read = accepted + refused: {tally.read} = {sums.accepted} + {refused}"
    yield from _decided(tally.fresh, before, sales)
    if sums.accepted != len(sums.charges) or sales.accepted != sales.charges:
        yield (
            f"charges = accepted: {sales.charges} (answered: {len(sums.charges)}) = "
            f"{sales.accepted} (answered: {sums.accepted})"
        )
    if mailing.sent != sales.decided:
        yield f"notifications = decided orders: {mailing.sent} = {sales.decided}"
    if mailing.sent != mailing.orders:
        yield f"one notification for each order: {mailing.sent} for {mailing.orders} orders"
    if sales.under_way:
        yield f"every order is finished: {sales.under_way} are not"
    yield from _goods(sales, stock)


def _decided(fresh: Sums, before: Sales, sales: Sales) -> Iterator[str]:
    """Hold the decisions of this run against what orders has counted since the run began."""
    accepted = sales.accepted - before.accepted
    if fresh.accepted != accepted:
        yield f"accepted = orders' own count: {fresh.accepted} = {accepted}"
    answered_no = Counter({code: count for code, count in fresh.refused.items() if code not in NOT_DECIDED})
    counted_no = Counter(sales.refused) - Counter(before.refused)
    if answered_no != counted_no:
        yield f"refused = orders' own count: {_counts(answered_no)} = {_counts(counted_no)}"
    revenue = sales.revenue - before.revenue
    if fresh.revenue != revenue:
        yield f"revenue = sum of the accepted orders: {revenue} = {fresh.revenue}"
    sold = Counter(sales.sold) - Counter(before.sold)
    if fresh.sold != sold:
        yield f"sold = orders' own count: {_counts(fresh.sold)} = {_counts(sold)}"


def _goods(sales: Sales, stock: Sequence[StockLevel]) -> Iterator[str]:
    """Hold what inventory has set aside against what orders has sold, in all runs together."""
    for level in stock:
        if level.before - level.reserved != level.left:
            yield (
                f"stock before - reserved = stock left of {level.product}: "
                f"{level.before} - {level.reserved} = {level.left}"
            )
        sold = sales.sold.get(level.product, 0)
        if level.reserved != sold:
            yield f"reserved = sold of {level.product}: {level.reserved} = {sold}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "none"


def _percentile(seconds: Sequence[float], part: float) -> float:
    if not seconds:
        return 0.0
    ordered = sorted(seconds)
    return round(1000 * ordered[min(int(part * len(ordered)), len(ordered) - 1)], 2)
