"""Requests and events each have a transport port; `Transport` is both, and a plugin may provide one of them."""

from __future__ import annotations

import pytest

from catga_core import (
    CatgaApp,
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    Command,
    ConfigurationError,
    ErrorCode,
    Event,
    Transport,
    add_catga,
)
from catga_core.interfaces import EventTransport, RequestTransport
from catga_core.memory import LocalBus, LocalTransport, local_bus
from catga_testing import eventually


class Closed(LocalTransport):
    """Counts how often it is closed."""

    def __init__(self) -> None:
        super().__init__(LocalBus())
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


def provided(app: CatgaApp) -> list[object]:
    return [app.request_transport, app.event_transport]


async def test_registered_transport_provides_both_ports_and_is_closed_once():
    catga, transport = add_catga(), Closed()
    catga.add_singleton(Transport, transport)

    async with catga.running() as app:
        assert app.transport is transport
        assert provided(app) == [transport, transport]
        assert [app.get(RequestTransport), app.get(EventTransport)] == [transport, transport]
        assert catga.request_transport() is catga.event_transport() is transport
    assert transport.closed == 1


async def test_transport_made_by_the_container_is_made_once():
    catga = add_catga()
    catga.add_singleton(Transport, Closed)

    async with catga.running() as app:
        transport = app.get(Transport)
        assert provided(app) == [transport, transport]
    assert transport.closed == 1  # type: ignore[attr-defined]


async def test_overridden_transport_provides_both_ports():
    catga, first, other = add_catga(), Closed(), Closed()
    catga.add_singleton(Transport, first)

    async with catga.running() as app:
        with catga.transport.override(other):
            assert provided(app) == [other, other]
        assert provided(app) == [first, first]


async def test_transport_may_be_overridden_where_none_is_registered():
    catga, other = add_catga(), Closed()

    async with catga.running() as app:
        for name in ("transport", "request_transport"):
            with catga.override(name, other):
                assert app.request_transport is other
        with catga.event_transport.override(other):
            assert app.event_transport is other
            with pytest.raises(ConfigurationError, match="RequestTransport"):
                _ = app.request_transport


def test_later_registration_of_one_port_wins_over_the_transport():
    catga, both, events = add_catga(), Closed(), Closed()
    catga.add_singleton(Transport, both)
    catga.add_singleton(EventTransport, events)

    assert catga.get(RequestTransport) is both
    assert catga.get(EventTransport) is events


def test_later_registration_of_the_transport_wins_over_one_port():
    catga, both, events = add_catga(), Closed(), Closed()
    catga.add_singleton(EventTransport, events)
    catga.add_singleton(Transport, both)

    assert catga.get(EventTransport) is both


def test_newest_override_wins_for_a_port():
    catga, both, events, double = add_catga(), Closed(), Closed(), Closed()
    catga.add_singleton(Transport, both)
    catga.add_singleton(EventTransport, events)

    with catga.override(Transport, double):
        assert catga.get(EventTransport) is double
        with catga.override(EventTransport, events):
            assert catga.get(EventTransport) is events
            assert catga.get(RequestTransport) is double
        assert catga.get(EventTransport) is double
    with catga.override(EventTransport, double), catga.override(Transport, both):
        assert catga.get(EventTransport) is both
    assert catga.get(EventTransport) is events


def test_one_port_alone_may_be_registered():
    catga, events = add_catga(), Closed()
    catga.add_singleton(EventTransport, events)

    assert catga.get(EventTransport) is events
    for absent in (RequestTransport, Transport):
        with pytest.raises(ConfigurationError, match="not registered"):
            catga.get(absent)


def test_a_transport_is_both_ports():
    assert isinstance(Closed(), RequestTransport)
    assert isinstance(Closed(), EventTransport)
    assert isinstance(Closed(), Transport)


class Ask(Command[str]):
    pass


class Told(Event):
    text: str


def service(
    name: str, told: list[str], *, requests: str | None = None, events: str | None = None
) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name))

    async def answer(_message: Ask) -> str:
        return name

    async def on_told(event: Told) -> None:
        told.append(f"{name}: {event.text}")

    catga.add_handlers(on_told)
    if name == "answering":
        catga.add_handlers(answer)
    if requests is not None:
        catga.add_singleton(RequestTransport, lambda: LocalTransport(local_bus(requests)))
    if events is not None:
        catga.add_singleton(EventTransport, lambda: LocalTransport(local_bus(events)))
    return catga


async def test_requests_and_events_go_over_transports_of_their_own():
    told: list[str] = []
    async with (
        service("answering", told, requests="requests-1", events="events-1").running() as answering,
        service("asking", told, requests="requests-1", events="events-1").running() as asking,
    ):
        answer = await asking.mediator.send(Ask())
        await asking.mediator.publish(Told("hello"))
        await eventually(lambda: len(told) == 2)
        health = answering.health()

    assert answer.unwrap() == "answering"
    assert sorted(told) == ["answering: hello", "asking: hello"]
    assert {"request_transport", "event_transport"} <= set(health)
    assert "transport" not in health


async def test_events_stay_in_the_process_where_only_requests_have_a_transport():
    told: list[str] = []
    async with (
        service("answering", told, requests="requests-2").running(),
        service("asking", told, requests="requests-2").running() as asking,
    ):
        answer = await asking.mediator.send(Ask())
        await asking.mediator.publish(Told("hello"))

    assert answer.unwrap() == "answering"
    assert told == ["asking: hello"]


async def test_requests_stay_in_the_process_where_only_events_have_a_transport():
    told: list[str] = []
    async with (
        service("answering", told, events="events-3").running(),
        service("asking", told, events="events-3").running() as asking,
    ):
        answer = await asking.mediator.send(Ask())
        await asking.mediator.publish(Told("hello"))
        await eventually(lambda: len(told) == 2)

    assert answer.error.code == ErrorCode.HANDLER_NOT_FOUND
    assert sorted(told) == ["answering: hello", "asking: hello"]


async def test_both_transports_are_closed_when_the_second_cannot_connect():
    class Broken(Closed):
        async def connect(self) -> None:
            raise CatgaError("no server", code=ErrorCode.TRANSPORT_FAILED)

    catga, requests, events = add_catga(), Closed(), Broken()
    catga.add_singleton(RequestTransport, requests)
    catga.add_singleton(EventTransport, events)

    with pytest.raises(CatgaError, match="no server"):
        async with catga.running():
            pass
    assert (requests.closed, events.closed) == (1, 1)
