"""A command that is done once, sent from within a unit of work that may still be rolled back."""

from __future__ import annotations

import pytest

from catga_core import CatgaMediator, Command, Event, EventStore, RequestHandler
from catga_core.container import add_stores
from catga_core.interfaces import IdempotencyStore
from catga_core.memory import memory_stores
from catga_core.reliability import idempotent
from tests.stores import Place


class Paid(Event):
    order: str


@idempotent(key=lambda command: command.order)
class Pay(Command[int]):
    order: str


class Order(Command[int]):
    order: str
    fails: bool = False


class PayHandler(RequestHandler[Pay, int]):
    def __init__(self, store: EventStore) -> None:
        self.store = store

    async def handle(self, message: Pay) -> int:
        return (await self.store.append("payments", Paid(message.order))).version


class OrderHandler(RequestHandler[Order, int]):
    def __init__(self, mediator: CatgaMediator) -> None:
        self.mediator = mediator

    async def handle(self, message: Order) -> int:
        paid = (await self.mediator.send(Pay(message.order))).unwrap()
        if message.fails:
            raise ValueError("no stock")
        return paid


def shop(place: Place, *, apart: bool):
    # A duplicate does not wait: a claim that was left behind shows at once.
    catga = place.container(enable_outbox=True, idempotency_wait_seconds=0)
    if apart:
        add_stores(catga, memory_stores, [IdempotencyStore], name="apart")
    catga.add_handlers(PayHandler, OrderHandler)
    return catga


apart = pytest.mark.parametrize("apart", [False, True], ids=["in_the_storage", "in_another"])


@apart
async def test_what_is_rolled_back_with_its_sender_can_be_done_again_at_once(place: Place, apart: bool):
    async with shop(place, apart=apart).running() as app:
        assert not (await app.mediator.send(Order("o-1", fails=True))).is_success
        again = await app.mediator.send(Order("o-1"))

        assert again.unwrap() == 1
        assert await app.event_store.version("payments") == 1


@apart
async def test_what_is_committed_with_its_sender_is_not_done_again(place: Place, apart: bool):
    async with shop(place, apart=apart).running() as app:
        assert (await app.mediator.send(Order("o-1"))).unwrap() == 1
        again = await app.mediator.send(Pay("o-1"))

        assert again.unwrap() == 1
        assert await app.event_store.version("payments") == 1


async def test_what_is_rolled_back_in_a_block_of_the_application_can_be_done_again_at_once(place: Place):
    async with shop(place, apart=False).running() as app:
        with pytest.raises(ValueError, match="no stock"):
            async with app.unit_of_work():
                await app.mediator.send(Pay("o-1"))
                raise ValueError("no stock")

        assert (await app.mediator.send(Pay("o-1"))).unwrap() == 1
