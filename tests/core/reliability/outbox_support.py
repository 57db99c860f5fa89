"""Events, a command that publishes them and a transport that fails on demand, for the tests of the outbox."""

from __future__ import annotations

import asyncio
from typing import Any

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaResult,
    Command,
    Event,
    MessageContext,
    MessageType,
    Transport,
    TransportCapabilities,
    message,
)
from catga_core.interfaces import Health, HealthStatus
from catga_core.interfaces.outbox import OutboxStats
from catga_core.interfaces.transport import Inbound
from catga_core.reliability import ordered_by
from tests.stores import Place


@message(name="outbox.Placed")
class Placed(Event):
    number: int


class Place_(Command[None]):
    numbers: tuple[int, ...] = (1,)
    then: str = "succeed"


@ordered_by(None)
class Loose(Event):
    number: int


@ordered_by(lambda event: event.order)
class Moved(Event):
    order: str
    number: int


class Wire:
    """A transport that keeps what it is given, and fails as the test says. What a server does is shown in tests/nats."""

    def __init__(self, fails: Any = lambda event: None) -> None:
        self.fails = fails
        self.sent: list[tuple[Any, MessageContext]] = []
        self.tries: list[Any] = []

    @property
    def capabilities(self) -> TransportCapabilities:
        return TransportCapabilities(remote=False)

    async def connect(self) -> None: ...

    async def serve(self, inbound: Inbound, /) -> None: ...

    async def request(self, described: MessageType, message: Any, context: MessageContext, /) -> Any:
        raise NotImplementedError

    async def publish(self, described: MessageType, event: Event, context: MessageContext, /) -> None:
        self.tries.append(event)
        error = self.fails(event)
        if asyncio.iscoroutine(error):
            error = await error
        if error is not None:
            raise error
        self.sent.append((event, context))

    async def drain(self, timeout: float, /) -> None: ...

    async def close(self) -> None: ...

    def health(self) -> Health:
        return Health(HealthStatus.HEALTHY)

    @property
    def events(self) -> list[Any]:
        return [event for event, _ in self.sent]


async def place_(message: Place_, mediator: CatgaMediator) -> Any:
    for number in message.numbers:
        await mediator.publish(Placed(number))
    if message.then == "fail":
        return CatgaResult.failure(code="NO_PAPER")
    return None


def placing(place: Place, wire: Wire | None = None, **options: Any) -> CatgaContainer:
    catga = place.container(**{"enable_outbox": True, "outbox_retry_delay_seconds": 0.02, **options})
    catga.add_handlers(place_)
    if wire is not None:
        catga.add_singleton(Transport, wire, instance=True)
    return catga


async def pending(app: Any) -> int:
    stats: OutboxStats = await app.outbox.stats()
    return stats.pending


async def is_empty(app: Any) -> bool:
    return await pending(app) == 0
