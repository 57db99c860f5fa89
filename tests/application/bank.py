"""A small bank with everything in it that durable state is for; it does not know where its state is."""

from __future__ import annotations

from collections import Counter

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaResult,
    Command,
    Event,
    EventHandler,
    EventStore,
    RequestHandler,
    message,
)
from catga_core.event_sourcing import Aggregate, AggregateRepository, add_aggregate, apply, every
from catga_core.event_sourcing.projections import Projection, add_projection, project
from catga_core.event_sourcing.subscriptions import Delivery, add_subscription
from catga_core.reliability import idempotent

REFUSED = "NOT_ENOUGH"


@message(name="bank.opened")
class Opened(Event):
    owner: str


@message(name="bank.deposited")
class Deposited(Event):
    amount: int


@message(name="bank.withdrawn")
class Withdrawn(Event):
    amount: int


@message(name="bank.moved")
class Moved(Event):
    """What others are told: published, not kept."""

    account: str
    amount: int


@message(name="bank.noted")
class Noted(Event):
    """What the subscription writes of each withdrawal."""

    of: str


class Account(Aggregate):
    owner: str = ""
    balance: int = 0

    def open(self, owner: str) -> None:
        self.raise_event(Opened(owner))

    def deposit(self, amount: int) -> None:
        self.raise_event(Deposited(amount))

    def withdraw(self, amount: int) -> bool:
        if amount > self.balance:
            return False
        self.raise_event(Withdrawn(amount))
        return True

    @apply
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner

    @apply
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount

    @apply
    def _withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount


@message(name="bank.deposit")
@idempotent(key=lambda command: command.reference)
class Deposit(Command[int]):
    reference: str
    account: str
    amount: int


@message(name="bank.withdraw")
class Withdraw(Command[int]):
    account: str
    amount: int


class DepositHandler(RequestHandler[Deposit, int]):
    def __init__(self, accounts: AggregateRepository[Account], mediator: CatgaMediator) -> None:
        self._accounts = accounts
        self._mediator = mediator

    async def handle(self, message: Deposit) -> int:
        account = await self._accounts.load_or_new(message.account)
        if not account.version:
            account.open(message.account)
        account.deposit(message.amount)
        await self._accounts.save(account)
        await self._mediator.publish(Moved(message.account, message.amount))
        return account.balance


class WithdrawHandler(RequestHandler[Withdraw, int]):
    def __init__(self, accounts: AggregateRepository[Account], mediator: CatgaMediator) -> None:
        self._accounts = accounts
        self._mediator = mediator

    async def handle(self, message: Withdraw) -> int | CatgaResult[int]:
        # Told before it is known whether it can be: what fails takes back what it has published.
        await self._mediator.publish(Moved(message.account, -message.amount))
        account = await self._accounts.load(message.account)
        if not account.withdraw(message.amount):
            return CatgaResult.failure(code=REFUSED, message="there is not so much")
        await self._accounts.save(account)
        return account.balance


class Post:
    """Where statements go; it can be closed."""

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, int]] = Counter()
        self.open = True


class SendStatement(EventHandler[Moved]):
    def __init__(self, post: Post, store: EventStore) -> None:
        self._post = post
        self._store = store

    async def handle(self, message: Moved) -> None:
        if not self._post.open:
            msg = "the post is closed"
            raise ValueError(msg)
        await self._store.append(f"statement-{message.account}", Noted(f"statement of {message.amount}"))
        self._post.sent[message.account, message.amount] += 1


class Balances(Projection, name="balances"):
    """Adds up what all accounts have, in this process."""

    def __init__(self) -> None:
        self.total = 0

    @project
    def deposited(self, event: Deposited) -> None:
        self.total += event.amount

    @project
    def withdrawn(self, event: Withdrawn) -> None:
        self.total -= event.amount


async def note_withdrawal(event: Withdrawn, store: EventStore) -> None:
    await store.append("withdrawals", Noted(f"withdrawal of {event.amount}"))


def add_bank(catga: CatgaContainer, post: Post) -> None:
    """Put the bank into a container."""
    catga.add_singleton(Post, post)
    catga.add_handlers(DepositHandler, WithdrawHandler, SendStatement)
    add_aggregate(catga, Account, snapshots=every(3))
    add_projection(catga, Balances, transactional=False, poll_seconds=0.05)
    add_subscription(
        catga,
        "withdrawals",
        note_withdrawal,
        delivery=Delivery.EXACTLY_ONCE,
        poll_seconds=0.05,
        lease_seconds=2,
    )
