"""Faults that people plant in sagas, each as one change of the right saga or of its world."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from decimal import ROUND_HALF_UP, Decimal
from uuid import uuid4

from catga_core import CatgaError, CatgaMediator
from catga_core.sagas import SagaContext
from tests.testing.sagas.shop import (
    Carrier,
    Charged,
    OrderSaga,
    OrderSent,
    Payments,
    PlacedOrder,
    RegisterOrder,
    Shop,
    Stock,
    WithdrawOrder,
)

CENT = Decimal("0.01")


class MissingCompensation(OrderSaga):
    """A step has no compensation."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.step("charge", lambda: self.payments.charge(data.total + data.postage))


class EffectOutsideStep(OrderSaga):
    """An effect is not in a step."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        charged = await self.payments.charge_without_key(data.total + data.postage)
        await saga.on_compensate("refund", lambda: self.payments.refund(charged.id))


class EventOutsideStep(OrderSaga):
    """An event is published by the mediator, not by the saga."""

    def __init__(self, payments: Payments, stock: Stock, carrier: Carrier, mediator: CatgaMediator) -> None:
        super().__init__(payments, stock, carrier)
        self.mediator = mediator

    async def ship(self, data: PlacedOrder, saga: SagaContext) -> str:
        await saga.commit_point()
        tracking = str(saga.uuid())
        await self.mediator.publish(OrderSent(data.id))
        return await saga.step("ship", lambda: self.carrier.send(data.id, tracking))


class StepNotIdempotent(OrderSaga):
    """A receiver does not deduplicate the step."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.step(
            "charge",
            lambda: self.payments.charge_without_key(data.total + data.postage),
            compensate=lambda charged: self.payments.refund(charged.id),
        )


class FreshKeyForEachAttempt(OrderSaga):
    """The key of the receiver is another one in each attempt."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.step(
            "charge",
            lambda: self.payments.charge(data.total + data.postage, key=str(uuid4())),
            compensate=lambda charged: self.payments.refund(charged.id),
        )


class SharedKey(OrderSaga):
    """Two steps have one key: the second one does nothing."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        for name, amount in (("charge", data.total), ("charge postage", data.postage)):
            await saga.step(
                name,
                lambda amount=amount: self.payments.charge(amount, key=data.id),  # type: ignore[misc]  # bound in the loop
                compensate=lambda charged: self.payments.refund(charged.id),
            )


class WrongOrder(OrderSaga):
    """What cannot be undone comes before what can fail."""

    async def execute(self, data: PlacedOrder, saga: SagaContext) -> str:
        await self.reserve(data, saga)
        tracking = str(saga.uuid())
        sent = await saga.step("ship", lambda: self.carrier.send(data.id, tracking))
        await self.charge(data, saga)
        await self.register(data, saga)
        await saga.publish(OrderSent(data.id))
        return sent


class WallClock(OrderSaga):
    """The code asks the machine for the time."""

    async def ship(self, data: PlacedOrder, saga: SagaContext) -> str:
        if time.time() % 86_400 > 1:
            return await super().ship(data, saga)
        raise CatgaError("closed at midnight", code="CLOSED")


class RandomBranch(OrderSaga):
    """The code takes one way or another by chance."""

    async def execute(self, data: PlacedOrder, saga: SagaContext) -> str:
        if random.random() < 0.5:
            await saga.step("audit", lambda: None)
        return await super().execute(data, saga)


class LostSibling(OrderSaga):
    """The error of a branch is swallowed, and the saga goes on without it."""

    async def reserve_item(self, item: str, count: int, saga: SagaContext) -> int:
        with suppress(CatgaError):
            return await super().reserve_item(item, count, saga)
        return 0


class CancelledSibling(OrderSaga):
    """A branch is cancelled in its step when another one fails, and the effect of the step stays."""

    async def reserve(self, data: PlacedOrder, saga: SagaContext) -> None:
        def slowly(item: str, count: int) -> Awaitable[int]:
            return saga.step(
                f"reserve {item}",
                lambda: self.stock.reserve_slowly(item, count),
                compensate=lambda reserved: self.stock.release(item, reserved),
            )

        async def late(item: str, count: int) -> int:
            await saga.sleep(1)
            return await slowly(item, count)

        (first, many), (second, few) = data.items.items()
        await saga.gather(slowly(first, many), late(second, few), on_failure="cancel")


class TaskOfItsOwn(OrderSaga):
    """A branch is started as a task, which no journal knows of."""

    async def reserve(self, data: PlacedOrder, saga: SagaContext) -> None:
        tasks = [
            asyncio.create_task(self.reserve_item(item, count, saga)) for item, count in data.items.items()
        ]
        for each in tasks:
            await each


class CompensationNotIdempotent(OrderSaga):
    """A compensation that runs twice undoes twice."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.step(
            "charge",
            lambda: self.payments.charge(data.total + data.postage),
            compensate=lambda charged: self.payments.refund_without_key(charged.id),
        )


class CompensationRefusesToRunTwice(OrderSaga):
    """A compensation fails for good where it has run before."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.step(
            "charge",
            lambda: self.payments.charge(data.total + data.postage),
            compensate=lambda charged: self.payments.refund_open(charged.id),
        )


class CompensationSwallowsErrors(OrderSaga):
    """A compensation that failed counts as one that succeeded."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        async def refund(charged: Charged) -> None:
            with suppress(Exception):
                await self.payments.refund(charged.id)

        await saga.step("charge", lambda: self.payments.charge(data.total + data.postage), compensate=refund)


class SwallowedError(OrderSaga):
    """A step hides that its effect failed."""

    async def reserve_item(self, item: str, count: int, saga: SagaContext) -> int:
        async def reserve() -> int:
            try:
                return await self.stock.reserve(item, count)
            except CatgaError:
                return 0

        return await saga.step(
            f"reserve {item}", reserve, compensate=lambda reserved: self.stock.release(item, reserved)
        )


class CompensationByTheOrder(OrderSaga):
    """A compensation undoes what was asked for, not what was done."""

    async def reserve_item(self, item: str, count: int, saga: SagaContext) -> int:
        reserved: int = await saga.step(
            f"reserve {item}",
            lambda: self.stock.reserve_what_is_left(item, count + 1),
            compensate=lambda _: self.stock.release(item, count + 1),
        )
        if reserved > count:
            await saga.step(f"give back {item}", lambda: self.stock.release(item, 1))
        return reserved


class RoundedRefund(OrderSaga):
    """A refund is worked out again, in other steps of rounding."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        total = data.total + data.postage
        rounded = (total / 2).quantize(CENT, ROUND_HALF_UP)
        for number, half in enumerate([rounded, total - rounded]):
            await saga.step(
                f"charge {number}",
                lambda half=half: self.payments.charge(half),  # type: ignore[misc]  # bound in the loop
                compensate=lambda _: self.payments.refund_amount(rounded),
            )


class MemoryOfTheObject(OrderSaga):
    """A compensation needs what the object remembers, and another process has another object."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        async def charge() -> None:
            self.charged = await self.payments.charge(data.total + data.postage)

        await saga.step("charge", charge, compensate=lambda _: self.payments.refund(self.charged.id))


class MemoryOfTheCode(OrderSaga):
    """The code uses a variable that a step has set, not the result of the step."""

    async def ship(self, data: PlacedOrder, saga: SagaContext) -> str:
        sent = ""

        async def send() -> None:
            nonlocal sent
            sent = await self.carrier.send(data.id, data.id)

        await saga.commit_point()
        await saga.step("ship", send)
        await saga.publish(OrderSent(data.id))
        return sent


class LooksOutsideStep(OrderSaga):
    """The code decides by what a service says now, outside of a step."""

    async def reserve_item(self, item: str, count: int, saga: SagaContext) -> int:
        if self.stock.available(item) < count:
            raise CatgaError("sold out", code="SOLD_OUT")
        return await super().reserve_item(item, count, saga)


class OnlyTheFirstTime(OrderSaga):
    """A step is left out when the code runs again."""

    async def execute(self, data: PlacedOrder, saga: SagaContext) -> str:
        if not saga.replaying:
            await saga.step("greet", lambda: None)
        return await super().execute(data, saga)


class SleepsInMemory(OrderSaga):
    """The code waits by other means than the saga's."""

    async def reserve(self, data: PlacedOrder, saga: SagaContext) -> None:
        await super().reserve(data, saga)
        await asyncio.sleep(60)


class CompensationRegisteredTooLate(OrderSaga):
    """The compensation of an effect is registered when something else may have failed."""

    async def register(self, data: PlacedOrder, saga: SagaContext) -> None:
        await saga.step("label", lambda: self.carrier.print_label(data.id))
        await super().register(data, saga)
        await saga.on_compensate("cancel label", lambda: self.carrier.cancel_label(data.id))


class TwoEffectsInOneStep(OrderSaga):
    """A step with two effects fails between them, and is not compensated."""

    async def charge(self, data: PlacedOrder, saga: SagaContext) -> None:
        async def charge() -> list[str]:
            first = await self.payments.charge(data.total, key="total")
            second = await self.payments.charge(data.postage, key="postage")
            return [first.id, second.id]

        async def refund(ids: list[str]) -> None:
            for each in ids:
                await self.payments.refund(each)

        await saga.step("charge", charge, compensate=refund)


class CommitPointTooEarly(OrderSaga):
    """Behind the commit point, an error of the code cannot be compensated."""

    async def execute(self, data: PlacedOrder, saga: SagaContext) -> str:
        await self.charge(data, saga)
        await saga.commit_point()
        reserved = await saga.gather(
            *(
                saga.step(f"reserve {item}", lambda item=item: self.stock.reserve_what_is_left(item, 4))  # type: ignore[misc]  # bound in the loop
                for item in data.items
            )
        )
        if min(reserved) < 4:
            raise CatgaError("sold out", code="SOLD_OUT")
        await self.register(data, saga)
        return await self.ship(data, saga)


class OrderOfSet(OrderSaga):
    """The steps follow the order of a set, which differs between processes: it is the same within a test."""

    async def reserve(self, data: PlacedOrder, saga: SagaContext) -> None:
        for item in set(data.items):
            await self.reserve_item(item, data.items[item], saga)


class HandlerNotIdempotent(Shop):
    """The handler of a command does its work for each delivery."""

    async def register(self, command: RegisterOrder) -> str:
        return self._register(command.order_id)


class HandlerLooksAtState(Shop):
    """The handler of a command takes a late delivery for a new one, where the order was withdrawn meanwhile."""

    async def register(self, command: RegisterOrder) -> str:
        if command.order_id not in self.orders:
            self.orders.append(command.order_id)
        return command.order_id

    async def withdraw(self, command: WithdrawOrder) -> None:
        if command.order_id in self.orders:
            self.orders.remove(command.order_id)


class RegistersFirst(OrderSaga):
    """As right as the right one: the command comes first, and can be compensated."""

    async def execute(self, data: PlacedOrder, saga: SagaContext) -> str:
        await self.register(data, saga)
        await self.charge(data, saga)
        await self.reserve(data, saga)
        return await self.ship(data, saga)


class EventHandlerNotIdempotent(Shop):
    """The handler of an event does its work for each delivery."""

    async def announce(self, event: OrderSent) -> None:
        self.letters.append(event.order_id)


FOUND: Mapping[str, tuple[type[OrderSaga], type[Shop]]] = {
    **{
        each.__name__: (each, Shop)
        for each in (
            MissingCompensation,
            EffectOutsideStep,
            EventOutsideStep,
            StepNotIdempotent,
            FreshKeyForEachAttempt,
            SharedKey,
            WrongOrder,
            WallClock,
            RandomBranch,
            LostSibling,
            CancelledSibling,
            TaskOfItsOwn,
            CompensationNotIdempotent,
            CompensationRefusesToRunTwice,
            CompensationSwallowsErrors,
            SwallowedError,
            CompensationByTheOrder,
            RoundedRefund,
            MemoryOfTheObject,
            MemoryOfTheCode,
            LooksOutsideStep,
            OnlyTheFirstTime,
            SleepsInMemory,
            CompensationRegisteredTooLate,
            TwoEffectsInOneStep,
            CommitPointTooEarly,
        )
    },
    **{
        each.__name__: (RegistersFirst, each)
        for each in (HandlerNotIdempotent, HandlerLooksAtState, EventHandlerNotIdempotent)
    },
}
"""The planted faults that `explore_crashes` finds."""

NOT_FOUND: Mapping[str, tuple[type[OrderSaga], type[Shop]]] = {"OrderOfSet": (OrderOfSet, Shop)}
"""Those that it does not."""
