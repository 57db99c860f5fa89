"""What the applications that are killed do: they append, take payments, send receipts and add up."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence

from catga_core import (
    CatgaError,
    CatgaMediator,
    Command,
    Event,
    EventHandler,
    RequestHandler,
    message,
)
from catga_core.interfaces import EventData, EventStore
from catga_core.reliability import idempotent

Say = Callable[[str], None]

LANES = 4
STREAMS = 8
_AGAIN = 0.02  # seconds before what failed is tried again


@message(name="kills.added")
class Added(Event):
    """One of several events that were appended at once."""

    batch: str
    index: int
    size: int


@message(name="kills.paid")
class Paid(Event):
    """Money has moved: this must be there once for each number."""

    number: int
    amount: int


@message(name="kills.paid-out")
class PaidOut(Event):
    """What others are told of it, by the outbox."""

    number: int


@message(name="kills.receipted")
class Receipted(Event):
    """A receipt has gone out: this must be there once for each payment."""

    number: int


@message(name="kills.pay")
@idempotent(key=lambda command: str(command.number))
class Pay(Command[int]):
    """Move money, once for each number."""

    number: int
    amount: int


class PayHandler(RequestHandler[Pay, int]):
    """Writes a payment and tells of it, in one unit of work."""

    def __init__(self, store: EventStore, mediator: CatgaMediator) -> None:
        self._store = store
        self._mediator = mediator

    async def handle(self, message: Pay) -> int:
        """Return how many payments the stream then has."""
        paid = Paid(message.number, message.amount)
        appended = await self._store.append(f"payments-{message.number % STREAMS}", paid)
        await self._mediator.publish(PaidOut(message.number))
        return appended.version


class SendReceipt(EventHandler[PaidOut]):
    """Writes a receipt, once for each payment, however often it is told of it."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def handle(self, message: PaidOut) -> None:
        """Write it."""
        await self._store.append(f"receipts-{message.number % STREAMS}", Receipted(message.number))


async def append_for_ever(store: EventStore, lane: int, chance: random.Random, say: Say) -> None:
    """Append one to three events at a time, all or nothing, and say what was acknowledged."""
    for number in itertools.count():
        batch = f"{chance.getrandbits(64):016x}-{number}"
        size = chance.randint(1, 3)
        events = [EventData(Added(batch, index, size), f"{batch}-{index}") for index in range(size)]
        stream = f"added-{lane}"
        while True:
            try:
                appended = await store.append(stream, events)
            except CatgaError:
                # The same message ids: whether it was written before does not matter.
                await asyncio.sleep(_AGAIN)
                continue
            say(f"added {stream} {appended.version} {batch} {size}")
            break


async def pay_for_ever(
    mediator: CatgaMediator, lane: int, said: Sequence[str], chance: random.Random, say: Say
) -> None:
    """Send one payment after the other until each is acknowledged, and one of them once more."""
    answers = {int(number): int(answer) for number, answer in map(str.split, said)}
    mine = [number for number in answers if number % LANES == lane]
    number = max(mine, default=lane - LANES)
    if mine:
        await _again(mediator, number, answers[number], say)
    while True:
        number += LANES
        while True:
            result = await mediator.send(Pay(number, 1 + number % 9))
            if result.is_success:
                break
            say("again")
            await asyncio.sleep(_AGAIN)
        answers[number] = result.value
        say(f"paid {number} {result.value}")
        if chance.random() < 0.1:
            await _again(mediator, number, result.value, say)


async def _again(mediator: CatgaMediator, number: int, answer: int, say: Say) -> None:
    while True:
        result = await mediator.send(Pay(number, 1 + number % 9))
        if result.is_success:
            break
        await asyncio.sleep(_AGAIN)
    say("again")
    if result.value != answer:
        say(f"broken: payment {number} was answered {answer}, and then {result.value}")
