from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject

from catga_core import CatgaMediator, Command, Success, add_catga

HERE = sys.modules[__name__]


class Ask(Command[str]):
    pass


class Nested(Command[bool]):
    pass


class Gateway:
    name = "real"


class Session:
    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


class AsyncSession(Session):
    pass


@inject
def plain(gateway: Gateway = Provide["gateway"]) -> Gateway:
    return gateway


@inject
async def awaited(mediator: CatgaMediator = Provide["mediator"]) -> str:
    return (await mediator.send(Ask())).unwrap()


@inject
async def ask(message: Ask, gateway: Gateway = Provide["gateway"]) -> str:
    return gateway.name


async def in_the_body(message: Ask) -> str:
    first, second = the_session(), the_session()
    assert first is second
    assert not first.closed
    sessions.append(first)
    return "asked"


async def sends(message: Nested, mediator: CatgaMediator) -> bool:
    mine = the_session()
    await mediator.send(Ask())
    return mine is not sessions[-1] and not mine.closed


@inject
def the_session(session: Session = Provide["session"]) -> Session:
    return session


async def asks_for_async(message: Ask) -> str:
    the_async_session()
    return "asked"


@inject
def the_async_session(session: AsyncSession = Provide["async_session"]) -> AsyncSession:
    return session


sessions: list[Session] = []


async def test_the_ports_are_providers_under_fixed_names():
    catga = add_catga()

    assert {"mediator", "transport", "serializer", "clock", "options"} <= set(catga.providers)
    async with catga.running() as app:
        assert catga.mediator() is app.mediator
        assert catga.clock() is app.clock
        assert catga.serializer() is app.serializer


async def test_a_service_is_a_provider_under_its_name_in_snake_case_or_a_chosen_one():
    class SQLOrderRepository:
        pass

    catga = add_catga()
    catga.add_singleton(SQLOrderRepository)
    catga.add_singleton(Gateway, name="payments")

    async with catga.running() as app:
        assert catga.sql_order_repository() is app.sql_order_repository is app.get(SQLOrderRepository)
        assert catga.payments() is app.get(Gateway)
        assert catga.provider(Gateway) is catga.payments


async def test_functions_are_injected_after_wiring_and_see_overrides():
    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            fake = Gateway()
            assert plain() is app.get(Gateway)
            with catga.override(Gateway, fake):
                assert plain() is fake
            assert plain() is app.get(Gateway)
    finally:
        catga.unwire()


async def test_an_async_function_is_given_the_mediator():
    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_handlers(ask)
    catga.wire(modules=[HERE])
    try:
        async with catga.running():
            assert await awaited() == "real"
    finally:
        catga.unwire()


async def test_a_handler_may_be_injected():
    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_handlers(ask)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            assert await app.mediator.send(Ask()) == Success("real")
    finally:
        catga.unwire()


async def test_what_is_injected_in_a_handlers_body_is_the_messages_own_scoped_service():
    sessions.clear()
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(in_the_body)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            for _ in range(2):
                assert (await app.mediator.send(Ask())) == Success("asked")
    finally:
        catga.unwire()

    first, second = sessions
    assert first is not second
    assert first.closed
    assert second.closed


async def test_a_nested_message_is_injected_with_its_own_scoped_service():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(in_the_body, sends)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            assert await app.mediator.send(Nested()) == Success(True)
    finally:
        catga.unwire()


async def test_a_scoped_service_that_has_to_be_awaited_is_taken_in_a_constructor_and_the_error_says_so():
    async def connect() -> AsyncIterator[AsyncSession]:
        yield AsyncSession()

    async def takes_it(message: Nested, session: AsyncSession) -> bool:
        return the_async_session() is session

    catga = add_catga()
    catga.add_scoped(AsyncSession, connect)
    catga.add_handlers(asks_for_async, takes_it)
    catga.wire(modules=[HERE])
    try:
        async with catga.running() as app:
            error = (await app.mediator.send(Ask())).error
            assert await app.mediator.send(Nested()) == Success(True)
    finally:
        catga.unwire()

    assert re.search("AsyncSession .* constructor", error.message)


async def test_a_provider_made_by_hand_implements_a_service_and_holds_others():
    class Client:
        def __init__(self, gateway: Gateway, url: str) -> None:
            self.got = (gateway, url)

    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Client, providers.Singleton(Client, gateway=catga.gateway, url="http://a"))

    async with catga.running() as app:
        assert app.get(Client).got == (app.get(Gateway), "http://a")


async def test_a_service_may_be_another_services_provider():
    class Same(Gateway):
        pass

    catga = add_catga()
    catga.add_singleton(Same)
    catga.add_singleton(Gateway, catga.same)

    async with catga.running() as app:
        assert app.get(Gateway) is app.get(Same)


async def test_a_scoped_service_by_a_provider_follows_the_scoped_services_it_holds():
    class Unit:
        def __init__(self, session: Session) -> None:
            self.session = session

    async def check(message: Nested, unit: Unit, session: Session) -> bool:
        return unit.session is session

    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_transient(Unit, providers.Factory(Unit, session=catga.session))
    catga.add_handlers(check)

    async with catga.running() as app:
        assert await app.mediator.send(Nested()) == Success(True)


async def test_other_containers_are_mounted():
    class Web(containers.DeclarativeContainer):
        config = providers.Configuration()
        catga = providers.DependenciesContainer()
        base_url = providers.Callable(lambda config: config["url"], config)
        page: providers.Factory[dict[str, Any]] = providers.Factory(
            dict, mediator=catga.mediator, gateway=catga.gateway
        )

    catga = add_catga()
    catga.add_singleton(Gateway)
    web = Web(catga=catga, config={"url": "http://a"})

    async with catga.running() as app:
        fake = Gateway()
        assert web.page() == {"mediator": app.mediator, "gateway": app.get(Gateway)}
        with catga.override(Gateway, fake):
            assert web.page()["gateway"] is fake


async def test_a_provider_put_in_by_hand_is_found_by_its_name():
    catga = add_catga()
    catga.page_size = providers.Object(20)

    async with catga.running() as app:
        assert app.page_size == 20
        with catga.override_providers(page_size=providers.Object(5)):
            assert app.page_size == 5
        assert app.page_size == 20


async def test_a_scoped_provider_outside_of_a_message_says_why_there_is_none():
    catga = add_catga()
    catga.add_scoped(Session)

    async with catga.running():
        with pytest.raises(
            LookupError, match="Session is scoped, and no message with a scope is being handled"
        ):
            catga.session()
