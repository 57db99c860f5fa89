"""Aggregates, deciders, repositories and events, as an application writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_type

import msgspec

from catga_core import CatgaContainer, Event
from catga_core.event_sourcing import (
    Aggregate,
    AggregateRepository,
    Decided,
    Decider,
    DeciderRepository,
    Difference,
    Snapshots,
    Upcaster,
    add_aggregate,
    add_decider,
    add_events,
    add_upcasters,
    after,
    apply,
    either,
    every,
    upcaster,
)
from catga_core.interfaces import EventStore, SnapshotStore, StoredEvent
from catga_testing import given


class Placed(Event):
    item: str


class Shipped(Event):
    pass


@dataclass
class Order(Aggregate, category="order", schema_version=2):
    items: list[str] = field(default_factory=list[str])
    shipped: bool = False

    def place(self, item: str) -> None:
        self.raise_event(Placed(item))
        self.raise_event("placed")  # E: mypy[arg-type] pyright[reportArgumentType]

    async def ship(self) -> int:
        self.raise_event(Shipped())
        return 1

    @apply
    def placed(self, event: Placed) -> None:
        self.items.append(event.item)

    @apply(Shipped)
    def has_shipped(self, _: Shipped) -> None:
        self.shipped = True


class Plain(Aggregate):
    total: int = 0


async def aggregates(store: EventStore, kept: SnapshotStore) -> None:
    orders = AggregateRepository(Order, store, snapshots=Snapshots(kept, either(every(100), after(60))))
    assert_type(orders, AggregateRepository[Order])
    order = await orders.load("1")
    assert_type(order, Order)
    assert_type(order.pending_events, tuple[Event, ...])
    assert_type(await orders.load_or_new("1"), Order)
    assert_type(await orders.update("1", lambda order: order.place("tea"), create=True), Order)
    assert_type(await orders.update("1", Order.ship), Order)
    assert_type(await orders.state_at("1", 3), Order)
    difference = await orders.diff("1", 1, 2)
    assert_type(difference, Difference[Order])
    assert_type(difference.before, Order)
    async for stored in orders.history("1"):
        assert_type(stored, StoredEvent)
    assert_type(Order("1").placed(Placed("tea")), None)
    Order("1", ["tea"], shipped=True)
    Order()  # E: mypy[call-arg] pyright[reportCallIssue]
    Plain("1")
    await orders.save(Plain("1"))  # E: mypy[arg-type] pyright[reportArgumentType]
    # E: mypy[attr-defined] pyright[reportAttributeAccessIssue,reportUnknownLambdaType,reportUnknownMemberType]
    await orders.update("1", lambda order: order.pack())
    AggregateRepository(Placed, store)  # E: mypy[type-var] pyright[reportArgumentType]


class Deposit(msgspec.Struct):
    amount: int


class Deposited(Event):
    amount: int


def decide(command: Deposit, balance: int) -> list[Deposited]:
    return [Deposited(command.amount + balance * 0)]


def evolve(balance: int, event: Deposited) -> int:
    return balance + event.amount


ACCOUNT = Decider(category="account", initial=int, decide=decide, evolve=evolve)

Accounts = DeciderRepository[Deposit, int, Deposited]


async def deciders(store: EventStore) -> None:
    assert_type(ACCOUNT, Decider[Deposit, int, Deposited])
    accounts = DeciderRepository(ACCOUNT, store)
    assert_type(accounts, DeciderRepository[Deposit, int, Deposited])
    decided = await accounts.handle("1", Deposit(5))
    assert_type(decided, Decided[int, Deposited])
    assert_type(decided.events, tuple[Deposited, ...])
    assert_type(await accounts.load("1"), int)
    await accounts.handle("1", 5)  # E: mypy[arg-type] pyright[reportArgumentType]


@upcaster("order.placed", from_version=1)
def renamed(data: dict[str, Any]) -> dict[str, Any]:
    return {"item": data["thing"]}


def composed(container: CatgaContainer) -> None:
    assert_type(renamed, Upcaster)
    add_events(container, Placed, Shipped)
    add_events(container, Order)  # E: mypy[arg-type] pyright[reportArgumentType]
    add_upcasters(container, renamed)
    add_aggregate(container, Order, snapshots=every(100), keep=2)
    add_aggregate(container, Placed)  # E: mypy[type-var] pyright[reportArgumentType]
    add_decider(container, Accounts, ACCOUNT)
    assert_type(container.get(AggregateRepository[Order]), AggregateRepository[Order])


def scenarios() -> None:
    assert_type(given(Order).events(Placed("tea")).when(lambda order: order.place("milk")).state, Order)
    assert_type(given(ACCOUNT).when(Deposit(5)).then(Deposited(5)).state, int)
    assert_type(given(ACCOUNT).when(Deposit(5)).then_raises(ValueError), ValueError)
    given(ACCOUNT).when(5)  # E: mypy[arg-type] pyright[reportArgumentType]
