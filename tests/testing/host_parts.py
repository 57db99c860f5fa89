"""A small shop in two applications, for the tests of the test host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    Clock,
    Command,
    Event,
    EventHandler,
    RequestHandler,
    StreamHandler,
    StreamQuery,
    Transport,
    add_catga,
)

MakeTransport = Callable[[], Transport]


class Buy(Command[str], frozen=True):
    item: str


class Charge(Command[int], frozen=True):
    amount: int


class Bought(Event, frozen=True):
    item: str


class Thanked(Event, frozen=True):
    item: str


class List(StreamQuery[int], frozen=True):
    up_to: int


class Unhandled(Command[str], frozen=True):
    pass


class Gateway(Protocol):
    async def charge(self, amount: int) -> int: ...


class RealGateway:
    async def charge(self, amount: int) -> int:
        raise CatgaError("a test must never come here", code="REAL_MONEY")


class FakeGateway:
    def __init__(self) -> None:
        self.charged: list[int] = []
        self.release = asyncio.Event()
        self.release.set()

    async def charge(self, amount: int) -> int:
        await self.release.wait()
        self.charged.append(amount)
        return amount


class Letters(list[str]):
    """The letters that were written."""


class BuyHandler(RequestHandler[Buy, str]):
    def __init__(self, mediator: CatgaMediator) -> None:
        self._mediator = mediator

    async def handle(self, message: Buy) -> str:
        charged = await self._mediator.send(Charge(3))
        await self._mediator.publish(Bought(message.item))
        return f"{message.item} for {charged.unwrap()}"


class ChargeHandler(RequestHandler[Charge, int]):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def handle(self, message: Charge) -> int:
        return await self._gateway.charge(message.amount)


class Thank(EventHandler[Bought]):
    """Takes its time, then publishes in turn."""

    def __init__(self, mediator: CatgaMediator, letters: Letters) -> None:
        self._mediator = mediator
        self._letters = letters

    async def handle(self, message: Bought) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        self._letters.append(f"thanks for {message.item}")
        await self._mediator.publish(Thanked(message.item))


class Archive(EventHandler[Thanked]):
    def __init__(self, letters: Letters, clock: Clock) -> None:
        self._letters = letters
        self._clock = clock

    async def handle(self, message: Thanked) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        self._letters.append(f"archived {message.item} in {self._clock.now().year}")


class BrokenListener(EventHandler[Bought]):
    async def handle(self, message: Bought) -> None:
        raise ZeroDivisionError(message.item)


class ListHandler(StreamHandler[List, int]):
    async def handle(self, message: List) -> AsyncIterator[int]:
        for number in range(message.up_to):
            yield number


def compose(*handlers: type, service: str = "shop", transport: MakeTransport | None = None) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=service))
    catga.add_singleton(Gateway, RealGateway)
    catga.add_singleton(Letters)
    if transport is not None:
        catga.add_singleton(Transport, transport)
    catga.add_handlers(*handlers)
    return catga
