"""The account of the benchmarks as the library `eventsourcing` has it, as its manual writes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Account(Aggregate):  # type: ignore[misc,unused-ignore]  # where the library is not installed, it has no type
    def __init__(self) -> None:
        self.balance = 0
        self.count = 0

    @event("Paid")  # type: ignore[untyped-decorator,unused-ignore]  # as above
    def pay(self, order_id: str, amount: int, customer: str, note: str) -> None:
        self.balance += amount
        self.count += 1


def loading(
    environment: Mapping[str, str], events: int, paid: tuple[str, int, str, str]
) -> Callable[[int], float]:
    """Return a function that loads the same account so many times, and returns the seconds that one load took.

    Args:
        environment: The application's settings; none keeps the events in memory.
        events: How many the account has; the one that makes it is an event too.
        paid: What each of the others holds.
    """
    application: Application[UUID] = Application(env=dict(environment))
    account = Account()
    for _ in range(events - 1):
        account.pay(*paid)
    application.save(account)

    def load(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            found: Account = application.repository.get(account.id)
        seconds = time.perf_counter() - start
        assert found.count == events - 1
        return seconds / count

    return load
