"""What has to be true when every saga of a run has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from catga_core.interfaces.saga_records import SagaRecord, SagaState
from tests.faults.sagas.ledger import Effect
from tests.faults.sagas.plan import REFUSED, PlaceOrder
from tests.faults.sagas.services import UNDONE_BY


class Seen(msgspec.Struct, frozen=True):
    """What was found when every saga had ended.

    Args:
        records: The sagas.
        effects: What the services have done.
        stock: How many are left of each product.
        bookings: How often each order was booked in the coordinator's storage.
    """

    records: Sequence[SagaRecord]
    effects: Sequence[Effect]
    stock: Mapping[str, int]
    bookings: Mapping[str, int]


def broken_promises(plan: Sequence[PlaceOrder], before: Mapping[str, int], seen: Seen) -> list[str]:
    """Return each promise that was broken, in one sentence.

    Args:
        plan: The orders.
        before: How many there were of each product.
        seen: What was found.
    """
    states = {each.saga.transaction_id: each.state for each in seen.records}
    problems = [f"saga {each.order_id} was not found" for each in plan if each.order_id not in states]
    problems += [
        f"saga {each.saga.transaction_id} is parked: {each.problem!r}"
        for each in seen.records
        if each.problem
    ]
    done = Counter((each.action, each.order_id) for each in seen.effects)
    problems += [f"{action} of {order} {times} times" for (action, order), times in done.items() if times > 1]
    for order in plan:
        state = states.get(order.order_id)
        if state is not None:
            problems += _of_one(order, state, done, seen.bookings.get(order.order_id, 0))
    completed = [each for each in plan if states.get(each.order_id) is SagaState.COMPLETED]
    problems += _sums(completed, before, seen)
    return problems


def _of_one(
    order: PlaceOrder, state: SagaState, done: Mapping[tuple[str, str], int], bookings: int
) -> list[str]:
    name = f"saga {order.order_id} ({order.fate})"
    if state not in {SagaState.COMPLETED, SagaState.COMPENSATED}:
        return [f"{name} is {state.value}"]
    is_completed = state is SagaState.COMPLETED
    problems: list[str] = []
    if order.fate != "scarce" and is_completed is (order.fate in REFUSED):
        problems.append(f"{name} is {state.value}")
    if bookings != is_completed:
        problems.append(f"{name} is {state.value}, and booked {bookings} times")
    for action, undo in UNDONE_BY.items():
        did, undid = done.get((action, order.order_id), 0), done.get((undo, order.order_id), 0)
        if did - undid != is_completed or (is_completed and undid):
            problems.append(f"{name} is {state.value}: {did} {action}, {undid} {undo}")
    return problems


def _sums(completed: Sequence[PlaceOrder], before: Mapping[str, int], seen: Seen) -> list[str]:
    problems: list[str] = []
    money = {
        action: sum((Decimal(each.amount) for each in seen.effects if each.action == action), Decimal(0))
        for action in ("charge", "refund")
    }
    sold = sum((each.total for each in completed), Decimal(0))
    if money["charge"] - money["refund"] != sold:
        problems.append(
            f"charged {money['charge']} - refunded {money['refund']} is not what was sold: {sold}"
        )
    taken = Counter[str]()
    for each in completed:
        taken[each.product] += each.quantity
    for product, count in before.items():
        if count - seen.stock.get(product, 0) != taken[product]:
            problems.append(
                f"{product}: {count} before, {seen.stock.get(product)} left, {taken[product]} sold"
            )
    return problems
