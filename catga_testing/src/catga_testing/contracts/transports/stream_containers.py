"""Streams of answers between whole applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    Clock,
    ErrorCode,
    StreamHandler,
    Transport,
    add_catga,
    current_context,
)
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_core.messages.registry import MessageRegistry
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.transports.base import TransportContractBase, TransportFactory, UpcastingFactory
from catga_testing.contracts.transports.messages import CountTo, Echo, Prices, PricesInCents
from catga_testing.waiting import eventually


class Session:
    """Closes with the scope of a stream."""

    closed: int

    def __init__(self) -> None:
        self.opened: bool = True

    async def aclose(self) -> None:
        """Count."""
        type(self).closed += 1


class CountHandler(StreamHandler[CountTo, int]):
    """Counts within a scope, and asks another message for each number."""

    def __init__(self, session: Session, mediator: CatgaMediator) -> None:
        self._session = session
        self._mediator = mediator

    async def handle(self, message: CountTo) -> AsyncIterator[int]:
        """Yield what the other handler makes of each number."""
        for number in range(1, message.last + 1):
            assert self._session.opened
            yield int((await self._mediator.send(Echo(str(number)))).unwrap())


class PricesHandler(StreamHandler[Prices, str]):
    """Answers the query of today."""

    async def handle(self, message: Prices) -> AsyncIterator[str]:
        """Yield two prices."""
        yield f"{message.amount}"
        yield f"{message.amount * 2}"


@upcaster("catga_contract.prices", from_version=1)
def _in_amounts(fields: dict[str, Any]) -> dict[str, Any]:
    return {"amount": str(Decimal(fields["cents"]) / 100)}


async def _echo(message: Echo) -> str:
    assert current_context().causation_id is not None
    return message.text


async def _wrong(message: CountTo) -> AsyncIterator[int]:
    yield message.last
    yield "two"  # type: ignore[misc]  # what the test is about


def _compose(name: str, make_transport: TransportFactory, *handlers: Any, **options: Any) -> CatgaContainer:
    def transport(clock: Clock) -> Transport:
        return make_transport(clock)

    catga = add_catga(CatgaOptions(service_name=name, **options))
    catga.add_singleton(Transport, transport)
    catga.add_scoped(Session)
    catga.add_handlers(*handlers)
    return catga


async def _failed(mediator: CatgaMediator, query: CountTo) -> tuple[list[int], CatgaError]:
    got: list[int] = []
    with pytest.raises(CatgaError) as raised:
        async with asyncio.timeout(PATIENCE), aclosing(mediator.stream(query)) as numbers:
            async for number in numbers:
                got.append(number)  # noqa: PERF401 - a comprehension would lose them when the stream fails
    return got, raised.value


class StreamContainersContract(TransportContractBase):
    """`mediator.stream` is the same wherever the handler is."""

    @needs(streams=True)
    async def test_application_streams_from_another(self, make_transport: TransportFactory) -> None:
        """Nested messages continue the conversation, and the handler's scope ends with the stream."""
        Session.closed = 0
        back = _compose("back", make_transport, CountHandler, _echo)
        front = _compose("front", make_transport)

        async with back.running(), front.running() as app, asyncio.timeout(PATIENCE):
            assert [number async for number in app.mediator.stream(CountTo(5))] == [1, 2, 3, 4, 5]
            await eventually(lambda: Session.closed == 1)
            async with aclosing(app.mediator.stream(CountTo(1_000_000))) as numbers:
                assert await anext(numbers) == 1
            await eventually(lambda: Session.closed == 2)

    @needs(streams=True)
    async def test_wrong_item_is_the_same_failure_in_process(self, make_transport: TransportFactory) -> None:
        """SERIALIZATION_FAILED with every problem, after the items before it."""
        alone = add_catga()
        alone.add_handlers(_wrong)
        back, front = _compose("back", make_transport, _wrong), _compose("front", make_transport)

        async with alone.running() as app:
            here = await _failed(app.mediator, CountTo(1))
        async with back.running(), front.running() as app:
            there = await _failed(app.mediator, CountTo(1))

        assert here[0] == there[0] == [1]
        assert there[1].code == ErrorCode.SERIALIZATION_FAILED
        assert (here[1].message, here[1].details) == (there[1].message, there[1].details)

    @needs(streams=True)
    async def test_stopping_application_ends_its_streams(self, make_transport: TransportFactory) -> None:
        """The one who asks gets an error, not silence."""

        async def endless(_message: CountTo) -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

        back = _compose("back", make_transport, endless, shutdown_timeout_seconds=0.2)
        front = _compose("front", make_transport)

        async with front.running() as app:
            async with back.running():
                reading = asyncio.create_task(_failed(app.mediator, CountTo(1)))
                await eventually(lambda: back.health()["mediator"].details["in_flight"] == 1)
            got, error = await reading

        assert (got, error.code) == ([1], ErrorCode.TRANSPORT_FAILED)

    @needs(streams=True)
    async def test_older_stream_query_is_answered_by_the_newer_handler(
        self, make_upcasting_transport: UpcastingFactory | None
    ) -> None:
        """As older requests are."""
        if make_upcasting_transport is None:
            pytest.skip("no make_upcasting_transport")
        make = make_upcasting_transport

        def transport(clock: Clock, registry: MessageRegistry | None = None) -> Transport:
            assert registry is not None
            return make(clock, registry)

        service, client = (add_catga(CatgaOptions(service_name=name)) for name in ("prices", "asks"))
        for each in (service, client):
            each.add_singleton(Transport, transport)
        service.add_handlers(PricesHandler)
        add_upcasters(service, _in_amounts)

        async with service.running(), client.running() as app, asyncio.timeout(PATIENCE):
            assert [price async for price in app.mediator.stream(PricesInCents(150))] == ["1.5", "3.0"]
            assert [price async for price in app.mediator.stream(Prices(Decimal("2.50")))] == ["2.50", "5.00"]
