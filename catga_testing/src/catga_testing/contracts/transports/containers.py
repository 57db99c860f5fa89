"""The transport inside whole applications, as its users will have it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Clock,
    ErrorCode,
    EventHandler,
    RequestHandler,
    Success,
    SystemClock,
    Transport,
    add_catga,
)
from catga_core.event_sourcing import add_event_publisher, add_upcasters, upcaster
from catga_core.interfaces import EventStore
from catga_core.messages.registry import MessageRegistry
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase, TransportFactory, UpcastingFactory
from catga_testing.contracts.transports.messages import (
    Ask,
    AskTwice,
    Echo,
    Happened,
    Noted,
    NotedTwice,
    Noticed,
    Other,
    Pay,
    PayInCents,
)
from catga_testing.host import test_host
from catga_testing.waiting import eventually


class OtherHandler(RequestHandler[Other, str]):
    """Asks another application and tells what happened."""

    def __init__(self, mediator: CatgaMediator) -> None:
        self._mediator = mediator

    async def handle(self, message: Other) -> str:
        """Ask, tell, answer."""
        answer = await self._mediator.send(Echo(message.text))
        await self._mediator.publish(Happened(len(message.text)))
        return answer.unwrap()


class EchoHandler(RequestHandler[Echo, str]):
    """Answers with the text."""

    async def handle(self, message: Echo) -> str:
        """Answer after a turn of the loop."""
        await asyncio.sleep(0)
        return message.text


class AskHandler(RequestHandler[Ask, str]):
    """Answers with the name of the class."""

    async def handle(self, message: Ask) -> str:
        """Answer."""
        return type(message).__name__


class Noting(EventHandler[Noted | NotedTwice | Noticed]):
    """Collects the numbers of several events."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    async def handle(self, message: Noted | NotedTwice | Noticed) -> None:
        """Collect."""
        self._heard.append(message.number)


class FailingEchoHandler(RequestHandler[Echo, str]):
    """Fails."""

    async def handle(self, message: Echo) -> str:
        """Raise what has nothing to do with Catga."""
        raise ZeroDivisionError(message.text)


class Heard(list[int]):
    """The numbers of the events that were handled."""


class Listening(EventHandler[Happened]):
    """Keeps the number."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    async def handle(self, message: Happened) -> None:
        """Keep it."""
        self._heard.append(message.number)


class FailingListener(EventHandler[Happened]):
    """Fails."""

    async def handle(self, message: Happened) -> None:
        """Raise what has nothing to do with Catga."""
        raise ZeroDivisionError(message.number)


class CancellingListener(EventHandler[Happened]):
    """Cancels the task that it runs in."""

    async def handle(self, message: Happened) -> None:
        """Cancel, at once or after a turn of the loop."""
        if message.number > 1:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(30)


def _compose(service: str, make_transport: TransportFactory, *handlers: type) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=service))
    catga.add_singleton(Transport, lambda: make_transport(SystemClock()))
    catga.add_singleton(Heard)
    catga.add_handlers(*handlers)
    return catga


class PayHandler(RequestHandler[Pay, str]):
    """Answers with the amount."""

    async def handle(self, message: Pay) -> str:
        """Answer."""
        return f"paid {message.amount}"


@upcaster("catga_contract.pay", from_version=1)
def _in_amounts(fields: dict[str, Any]) -> dict[str, Any]:
    cents = fields.pop("cents")
    if cents < 0:
        raise LookupError
    fields["amount"] = str(Decimal(cents) / 100)
    return fields


class ContainersContract(TransportContractBase):
    """Handlers notice nothing of the transport but that it works."""

    async def test_older_request_is_upcast_where_it_is_handled(
        self, make_upcasting_transport: UpcastingFactory | None
    ) -> None:
        """A sender that was not upgraded is answered, and told of an upcaster that fails."""
        if make_upcasting_transport is None:
            pytest.skip("no make_upcasting_transport")
        make = make_upcasting_transport

        def transport(clock: Clock, registry: MessageRegistry | None = None) -> Transport:
            assert registry is not None
            return make(clock, registry)

        service, client = (add_catga(CatgaOptions(service_name=name)) for name in ("pays", "asks"))
        for each in (service, client):
            each.add_singleton(Transport, transport)
        service.add_handlers(PayHandler)
        add_upcasters(service, _in_amounts)

        async with service.running(), client.running() as app:
            send = app.mediator.send
            older, newer = await send(PayInCents(150)), await send(Pay(Decimal("2.50")))
            with_timeout = await send(PayInCents(1), timeout=SOON)
            failed = await send(PayInCents(-1))

        assert (older, newer, with_timeout) == (
            Success("paid 1.5"),
            Success("paid 2.50"),
            Success("paid 0.01"),
        )
        assert failed.error.code == ErrorCode.SERIALIZATION_FAILED
        assert "LookupError" in failed.error.message

    async def test_handlers_of_several_applications_work_together(
        self, make_transport: TransportFactory
    ) -> None:
        """A request goes through two of them, and its event reaches a third, all in one conversation."""
        front = _compose("front", make_transport, OtherHandler)
        back = _compose("back", make_transport, EchoHandler)
        mail = _compose("mail", make_transport, Listening)

        async with test_host(mail) as mails, test_host(back) as backs, test_host(front) as fronts:
            result = await fronts.send(Other("hello"))

            assert result == Success("hello")
            assert mails.app.get(Heard) == [5]
            (asked,), (heard,) = backs.received(Echo), mails.received(Happened)
            first = fronts.sent(Other)[0].context
            assert asked.context.correlation_id == heard.context.correlation_id == first.message_id
            assert asked.context.causation_id == heard.context.causation_id == first.message_id

    async def test_a_handler_that_raises_is_a_failed_result_without_a_traceback(
        self, make_transport: TransportFactory
    ) -> None:
        """HANDLER_FAILED, with nothing of the receiver's files in it."""
        back = _compose("back", make_transport, FailingEchoHandler)
        front = _compose("front", make_transport, OtherHandler)

        async with test_host(back), test_host(front) as fronts:
            error = (await fronts.mediator.send(Echo("x"))).error

        assert error.code == ErrorCode.HANDLER_FAILED
        assert not error.retryable
        assert "Traceback" not in f"{error.message}{dict(error.details)}"
        assert ".py" not in f"{error.message}{dict(error.details)}"

    async def test_a_failing_event_handler_is_recorded_and_stops_no_other(
        self, make_transport: TransportFactory
    ) -> None:
        """Neither beside it, nor in another service, nor at the next event, nor at the publisher."""
        mixed = _compose("mixed", make_transport, FailingListener, Listening)
        mail = _compose("mail", make_transport, Listening)
        front = _compose("front", make_transport)

        async with test_host(mixed) as mixeds, test_host(mail) as mails, test_host(front) as fronts:
            await fronts.publish(Happened(1))
            await fronts.publish(Happened(2))

            assert sorted(mixeds.app.get(Heard)) == sorted(mails.app.get(Heard)) == [1, 2]
            assert [each.handler for each in mixeds.failures(Happened)] == ["FailingListener"] * 2
            assert mixeds.app.health()["mediator"].details["failed_event_handlers"] == 2

    @pytest.mark.parametrize("first", [True, False])
    async def test_event_handler_that_cancels_its_task_stops_no_other(
        self, make_transport: TransportFactory, first: bool
    ) -> None:
        """It has failed, and the other handlers of the event are called."""
        handlers = (CancellingListener, Listening)
        mixed = _compose("mixed", make_transport, *(handlers if first else handlers[::-1]))
        front = _compose("front", make_transport)

        async with test_host(mixed) as mixeds, test_host(front) as fronts:
            for number in (1, 2, 3):
                await fronts.publish(Happened(number))

            assert sorted(mixeds.app.get(Heard)) == [1, 2, 3]
            assert [each.handler for each in mixeds.failures(Happened)] == ["CancellingListener"] * 3
            assert mixeds.app.health()["mediator"].details["failed_event_handlers"] == 3

    async def test_appended_events_reach_each_service_by_an_event_publisher(
        self, make_transport: TransportFactory
    ) -> None:
        """With the ids that they were stored with; the publishing service is one of them."""
        orders = _compose("orders", make_transport, Listening)
        add_event_publisher(orders, stream="order-*", events=[Happened])
        mail = _compose("mail", make_transport, Listening)

        async with test_host(mail) as mails, test_host(orders) as publishing:
            store = publishing.app.get(EventStore)
            for number in range(10):
                await store.append("order-1", Happened(number))
            await store.append("cart-1", Happened(99))
            await publishing.settled()

            stored = [each.message_id async for each in store.read("order-1")]
            for host in (mails, publishing):
                assert sorted(host.app.get(Heard)) == list(range(10))
                assert sorted(each.context.message_id for each in host.received(Happened)) == sorted(stored)

    async def test_handler_of_a_base_class_or_union_gets_all_of_its_messages(
        self, make_transport: TransportFactory
    ) -> None:
        """Events once each, whichever class of the annotation they are of; requests by the handler of the nearest class."""
        back = _compose("back", make_transport, AskHandler, Noting)
        front = _compose("front", make_transport)

        async with test_host(back) as backs, test_host(front) as fronts:
            for event in (Noted(1), NotedTwice(2), Noticed(3)):
                await fronts.publish(event)
            answers = [await fronts.mediator.send(each) for each in (Ask(), AskTwice())]

            assert sorted(backs.app.get(Heard)) == [1, 2, 3]
            assert answers == [Success("Ask"), Success("AskTwice")]

    async def test_an_application_that_stops_answers_what_it_has_begun(
        self, make_transport: TransportFactory
    ) -> None:
        """All of it, although it stops under load."""
        back = _compose("back", make_transport, EchoHandler)
        front = _compose("front", make_transport)

        async with test_host(front) as fronts:
            async with test_host(back) as backs:
                tasks = [
                    asyncio.create_task(fronts.mediator.send(Echo(str(number)), timeout=10))
                    for number in range(50)
                ]
                await eventually(lambda: backs.received(Echo), within=SOON, every=0)
            results = await asyncio.gather(*tasks)
            answered = [result.value for result in results if result.is_success]

        assert sorted(answered) == sorted(each.message.text for each in backs.received(Echo))
        assert {result.error.code for result in results if not result.is_success} <= {
            str(ErrorCode.TRANSPORT_FAILED),
            str(ErrorCode.HANDLER_NOT_FOUND),
        }
