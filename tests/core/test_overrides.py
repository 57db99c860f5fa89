from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from dependency_injector import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from catga_core import (
    Behavior,
    CatgaApp,
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    CatgaResult,
    Clock,
    Command,
    ConfigurationError,
    ErrorCode,
    Event,
    EventHandler,
    Lifetime,
    Next,
    RequestHandler,
    StreamQuery,
    Success,
    SystemClock,
    add_catga,
)
from catga_core.memory import LocalTransport, local_bus
from tests.core.support import Gate


class Ask(Command[str]):
    pass


class Happened(Event):
    pass


class Gateway:
    def __init__(self) -> None:
        self.asked = 0

    def name(self) -> str:
        self.asked += 1
        return "real"


class Fake(Gateway):
    def name(self) -> str:
        return "fake"


class Named(Gateway):
    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


class Service:
    """Holds the gateway, and is itself held by handlers."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway


class AskHandler(RequestHandler[Ask, str]):
    def __init__(self, service: Service) -> None:
        self.service = service

    async def handle(self, message: Ask) -> str:
        return self.service.gateway.name()


class Tagged(Behavior[Ask, str]):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def handle(self, message: Ask, next: Next[Ask, str]) -> CatgaResult[str]:
        return (await next(message)).map(lambda name: f"{self.gateway.name()}/{name}")


def shop(gateway: Lifetime = Lifetime.SINGLETON) -> CatgaContainer:
    catga = add_catga()
    {
        Lifetime.SINGLETON: catga.add_singleton,
        Lifetime.SCOPED: catga.add_scoped,
        Lifetime.TRANSIENT: catga.add_transient,
    }[gateway](Gateway)
    (catga.add_singleton if gateway is Lifetime.SINGLETON else catga.add_transient)(Service)
    catga.add_handlers(AskHandler)
    return catga


async def ask(catga: CatgaContainer) -> str:
    return (await catga.mediator().send(Ask())).unwrap()  # type: ignore[no-any-return]


# --- ways to override ---


@pytest.mark.parametrize(
    "fake", [Fake(), Fake, providers.Object(Fake()), providers.Factory(Fake), providers.Singleton(Fake)]
)
@pytest.mark.parametrize("lifetime", list(Lifetime))
async def test_a_service_is_overridden_by_its_type_on_a_running_container(lifetime: Lifetime, fake: Any):
    catga = shop(lifetime)

    async with catga.running():
        before = await ask(catga)
        with catga.override(Gateway, fake):
            inside = await ask(catga)
        after = await ask(catga)

    assert (before, inside, after) == ("real", "fake", "real")


class Unrelated:
    def name(self) -> str:
        return "double"


@pytest.mark.parametrize("lifetime", list(Lifetime))
@pytest.mark.parametrize("double", [Unrelated, Unrelated()])
async def test_a_double_need_not_be_derived_from_what_it_doubles(double: Any, lifetime: Lifetime):
    catga = shop(lifetime)

    async with catga.running():
        with catga.override(Gateway, double):
            assert await ask(catga) == "double"


def makes_fake() -> Gateway:
    return Fake()


async def awaits_fake() -> Gateway:
    await asyncio.sleep(0)
    return Fake()


def yields_fake() -> Iterator[Gateway]:
    yield Fake()


async def yields_fake_async() -> AsyncIterator[Gateway]:
    await asyncio.sleep(0)
    yield Fake()


@pytest.mark.parametrize("lifetime", [Lifetime.SINGLETON, Lifetime.SCOPED])
@pytest.mark.parametrize("factory", [makes_fake, awaits_fake, yields_fake, yields_fake_async])
async def test_a_factory_stands_in_by_what_it_makes(factory: Any, lifetime: Lifetime):
    catga = shop(lifetime)

    async with catga.running():
        assert await ask(catga) == "real"
        with catga.override(Gateway, factory):
            assert [await ask(catga) for _ in range(2)] == ["fake", "fake"]
        assert await ask(catga) == "real"


async def test_a_factory_that_stands_in_is_given_what_it_needs_and_ended_with_the_message():
    log: list[str] = []

    class Settings:
        name = "from the settings"

    async def session(settings: Settings) -> AsyncIterator[Gateway]:
        yield Named(settings.name)
        log.append("ended")

    catga = shop(Lifetime.SCOPED)
    catga.add_singleton(Settings)

    async with catga.running():
        with catga.override(Gateway, session):
            assert await ask(catga) == "from the settings"
            assert log == ["ended"]


async def test_a_function_stands_in_as_it_is_where_the_override_says_so():
    catga = add_catga()
    catga.add_singleton(Gateway)

    async with catga.running() as app:
        with catga.override(Gateway, makes_fake, instance=True):
            given: Any = app.get(Gateway)
            assert given is makes_fake


def test_an_async_factory_for_a_transient_service_is_refused_at_once():
    with pytest.raises(ConfigurationError, match=r"Gateway is transient with an async factory"):
        shop(Lifetime.TRANSIENT).override(Gateway, awaits_fake)


async def test_a_service_is_overridden_by_its_providers_name():
    catga = shop()

    async with catga.running():
        with catga.override("gateway", Fake()):
            assert await ask(catga) == "fake"
        assert await ask(catga) == "real"


async def test_a_service_is_overridden_by_its_provider():
    catga = shop()

    async with catga.running():
        with catga.gateway.override(Fake()):
            assert await ask(catga) == "fake"
        assert await ask(catga) == "real"


async def test_a_provider_takes_its_overrides_back_as_dependency_injectors_do():
    catga = shop()

    async with catga.running():
        catga.gateway.override(Named("one"))
        catga.gateway.override(Named("two"))
        catga.gateway.reset_last_overriding()
        after_one = await ask(catga)
        catga.gateway.override(Named("three"))
        catga.gateway.reset_override()
        after_all = await ask(catga)

    assert (after_one, after_all) == ("one", "real")


async def test_several_providers_are_overridden_at_once():
    catga = shop()
    clock = SystemClock()

    async with catga.running() as app:
        with catga.override_providers(gateway=Fake(), clock=clock):
            assert await ask(catga) == "fake"
            assert app.clock is clock
        assert await ask(catga) == "real"
        assert app.clock is not clock


async def test_overriding_several_providers_changes_nothing_when_one_cannot_be():
    catga = shop()

    async with catga.running():
        with pytest.raises(ConfigurationError, match="'gatewya'"):
            catga.override_providers(gateway=Fake(), gatewya=Fake())
        assert await ask(catga) == "real"


async def test_several_providers_may_be_restored_in_any_order():
    catga = shop()

    async with catga.running():
        first = catga.override_providers(gateway=Named("one"))
        second = catga.override_providers(gateway=Named("two"))
        first.restore()
        still_second = await ask(catga)
        second.restore()
        none_left = await ask(catga)

    assert (still_second, none_left) == ("two", "real")


async def test_an_override_before_the_start_holds_in_the_run():
    catga = shop()

    with catga.override(Gateway, Fake()):
        async with catga.running():
            assert await ask(catga) == "fake"
    async with catga.running():
        assert await ask(catga) == "real"


async def test_a_transport_is_overridden_though_there_was_none():
    class Answers(LocalTransport):
        async def request(self, *_: Any) -> CatgaResult[Any]:
            return Success("remote")

    catga = add_catga()

    async with catga.running() as app:
        sender = app.mediator.sender(Ask)
        before = await sender(Ask())
        with catga.transport.override(Answers(local_bus("none"))):
            inside = await sender(Ask())
            with_options = await app.mediator.send(Ask(), timeout=5)
        after = await sender(Ask())

    assert before.error.code == after.error.code == "HANDLER_NOT_FOUND"
    assert inside == with_options == Success("remote")


async def test_the_clock_is_overridden_for_deadlines():
    class Late(SystemClock):
        def time(self) -> float:
            return super().time() + 1_000

    catga = shop()

    async with catga.running() as app:
        with catga.override(Clock, Late()):
            assert app.clock.time() > SystemClock().time() + 900
            assert (await app.mediator.send(Ask(), timeout=5)).is_success


async def test_options_are_overridden_for_the_next_pipeline():
    async def wait(message: Ask) -> str:
        await asyncio.Event().wait()
        return ""

    catga = add_catga()
    catga.add_handlers(wait)

    async with catga.running() as app:
        with catga.override(CatgaOptions, CatgaOptions(timeout_seconds=0.01)):
            assert (await app.mediator.send(Ask())).error.code == "TIMEOUT"


# --- whom an override reaches ---


@pytest.mark.parametrize("lifetime", [None, Lifetime.SINGLETON, Lifetime.TRANSIENT])
async def test_an_override_reaches_handlers_and_singletons_that_were_built_before_it(
    lifetime: Lifetime | None,
):
    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service)
    catga.add_handlers(AskHandler, lifetime=lifetime)

    async with catga.running() as app:
        service = app.get(Service)
        await ask(catga)
        with catga.override(Gateway, Fake()):
            assert await ask(catga) == "fake"
            assert app.get(Service) is not service
        assert app.get(Service) is service


async def test_an_override_reaches_behaviors_event_handlers_and_validators():
    seen: list[str] = []

    async def on_happened(message: Happened, service: Service) -> None:
        seen.append(service.gateway.name())

    catga = shop()
    catga.add_behavior(Tagged)
    catga.add_handlers(on_happened)

    async with catga.running() as app:
        await app.mediator.publish(Happened())
        with catga.override(Gateway, Fake()):
            assert await ask(catga) == "fake/fake"
            await app.mediator.publish(Happened())
        assert await ask(catga) == "real/real"
        await app.mediator.publish(Happened())

    assert seen == ["real", "fake", "real"]


async def test_an_override_reaches_through_a_provider_that_holds_the_service():
    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service, providers.Factory(Service, gateway=catga.gateway))
    catga.add_handlers(AskHandler)

    async with catga.running():
        with catga.override(Gateway, Fake()):
            assert await ask(catga) == "fake"
        assert await ask(catga) == "real"


async def test_a_restored_singleton_is_the_same_object_with_its_state():
    catga = shop()

    async with catga.running() as app:
        gateway = app.get(Gateway)
        await ask(catga)
        with catga.override(Gateway, Fake()):
            await ask(catga)
        await ask(catga)

        assert app.get(Gateway) is gateway
        assert gateway.asked == 2


async def test_a_pre_bound_sender_sees_an_override():
    catga = shop()

    async with catga.running() as app:
        sender = app.mediator.sender(Ask)
        before = await sender(Ask())
        with catga.override(Gateway, Fake()):
            inside = await sender(Ask())
            inner = app.mediator.sender(Ask)
        after = await sender(Ask())
        inner_after = await inner(Ask())

    assert [before, inside, after, inner_after] == [
        Success("real"),
        Success("fake"),
        Success("real"),
        Success("real"),
    ]


async def test_messages_in_flight_keep_what_they_began_with():
    gate = Gate()

    async def slow(message: Ask, service: Service) -> str:
        await gate.pass_through()
        return service.gateway.name()

    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service)
    catga.add_handlers(slow)

    async with catga.running() as app:
        began_before = asyncio.ensure_future(app.mediator.send(Ask()))
        await gate.reached()
        with catga.override(Gateway, Fake()):
            in_flight = catga.health()["mediator"].details["in_flight"]
            began_inside = asyncio.ensure_future(app.mediator.send(Ask()))
            await asyncio.sleep(0)
        gate.open()
        assert (await began_before, await began_inside) == (Success("real"), Success("fake"))

    assert in_flight == 1


# --- handlers, behaviors, scoped and async services ---


async def stands_in(message: Ask) -> str:
    return "another handler"


class OtherHandler(RequestHandler[Ask, str]):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def handle(self, message: Ask) -> str:
        await asyncio.sleep(0)
        return f"another handler with the {self.gateway.name()} gateway"


class HandlerDouble:
    async def handle(self, message: Ask) -> str:
        return "another handler"


@pytest.mark.parametrize("double", [stands_in, OtherHandler, HandlerDouble()])
async def test_a_handler_is_overridden_by_its_class(double: Any):
    catga = shop()

    async with catga.running():
        await ask(catga)
        with catga.override(AskHandler, double):
            assert (await ask(catga)).startswith("another handler")
        assert await ask(catga) == "real"


async def test_a_function_handler_is_overridden_by_the_function():
    async def real(message: Ask) -> str:
        return "real"

    catga = add_catga()
    catga.add_handlers(real)

    async with catga.running():
        with catga.override(real, stands_in):
            assert await ask(catga) == "another handler"
        assert await ask(catga) == "real"


async def real_ask(message: Ask, gateway: Gateway) -> str:
    return gateway.name()


async def stands_in_with_a_gateway(message: Ask, gateway: Gateway) -> str:
    return f"another handler with the {gateway.name()} gateway"


@pytest.mark.parametrize("handler", [AskHandler, real_ask])
@pytest.mark.parametrize("lifetime", list(Lifetime))
async def test_a_function_that_stands_in_for_a_handler_is_given_the_services_it_takes(
    handler: Any, lifetime: Lifetime
):
    catga = add_catga()
    {
        Lifetime.SINGLETON: catga.add_singleton,
        Lifetime.SCOPED: catga.add_scoped,
        Lifetime.TRANSIENT: catga.add_transient,
    }[lifetime](Gateway)
    catga.add_transient(Service)
    catga.add_handlers(handler)

    async with catga.running():
        with catga.override(handler, stands_in_with_a_gateway):
            assert await ask(catga) == "another handler with the real gateway"
            with catga.override(Gateway, Fake):
                assert await ask(catga) == "another handler with the fake gateway"
        assert await ask(catga) == "real"


async def test_a_double_that_says_nothing_of_its_message_handles_that_of_its_handler():
    async def function(message):
        return type(message).__name__

    class Double:
        async def handle(self, message):
            return type(message).__name__

    catga = shop()

    async with catga.running():
        for double in (
            function,
            Double,
            Double(),
            Double().handle,
            AsyncMock(**{"handle.return_value": "Ask"}),
        ):
            with catga.override(AskHandler, double):
                assert await ask(catga) == "Ask"


class Other(Command[int]):
    pass


class HandlesOther(RequestHandler[Other, int]):
    async def handle(self, message: Other) -> int:
        return 1


class DuckHandlesOther:
    async def handle(self, message: Other) -> int:
        return 1


async def handles_other(message: Other) -> int:
    return 1


@pytest.mark.parametrize("handler", [AskHandler, real_ask])
@pytest.mark.parametrize(
    "double", [HandlesOther, HandlesOther(), DuckHandlesOther, DuckHandlesOther(), handles_other]
)
def test_a_handler_of_another_message_cannot_stand_in(double: Any, handler: Any):
    catga = add_catga()
    catga.add_handlers(handler)

    with pytest.raises(
        ConfigurationError,
        match=rf"cannot override .*{handler.__name__}.*Other v1.*Ask v1",
    ):
        catga.override(handler, double)


@pytest.mark.parametrize("double", ["a text", 3, None, object()])
@pytest.mark.parametrize("instance", [True, False])
def test_what_is_no_handler_cannot_stand_in_for_one(double: Any, instance: bool):
    with pytest.raises(ConfigurationError, match=r"cannot override AskHandler.* Ask"):
        shop().override(AskHandler, double, instance=instance)


def test_a_handler_that_stands_in_has_to_be_asynchronous_and_to_find_what_it_needs():
    def synchronous(message: Ask) -> str:
        return ""

    async def needs_more(message: Ask, missing: HandlerDouble) -> str:
        return ""

    catga = shop()

    with pytest.raises(ConfigurationError, match="is not asynchronous: write async def"):
        catga.override(AskHandler, synchronous)
    with pytest.raises(ConfigurationError, match=r"needs_more.*HandlerDouble"):
        catga.override(AskHandler, needs_more)


def test_overriding_a_message_names_its_handlers():
    async def on_happened(message: Happened) -> None: ...

    async def also_on_happened(message: Happened) -> None: ...

    catga = shop()
    catga.add_handlers(on_happened, also_on_happened)

    for message, text in (
        (Ask, r"Ask.*override\(AskHandler"),
        (Happened, r"override\(on_happened, \.\.\.\), .* also_on_happened"),
        (Other, r"Other .* Register a handler first"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            catga.override(message, Fake())


async def test_a_behavior_is_overridden_by_its_class():
    class Quiet(Tagged):
        async def handle(self, message: Ask, next: Next[Ask, str]) -> CatgaResult[str]:
            await asyncio.sleep(0)
            return await next(message)

    catga = shop()
    catga.add_behavior(Tagged)

    async with catga.running():
        with catga.override(Tagged, Quiet):
            assert await ask(catga) == "real"
        assert await ask(catga) == "real/real"


async def test_a_scoped_service_is_overridden_by_a_provider_with_one_for_each_message():
    made: list[Gateway] = []

    def make() -> Gateway:
        made.append(Fake())
        return made[-1]

    async def both(message: Ask, gateway: Gateway, service: Service) -> str:
        assert gateway is service.gateway
        return gateway.name()

    catga = add_catga()
    catga.add_scoped(Gateway)
    catga.add_transient(Service)
    catga.add_handlers(both)

    async with catga.running():
        with catga.override(Gateway, providers.Factory(make)):
            assert [await ask(catga) for _ in range(2)] == ["fake", "fake"]

    assert len(made) == 2


async def test_an_async_singleton_is_built_anew_under_an_override_and_only_once():
    built: list[str] = []

    async def connect(gateway: Gateway) -> Service:
        await asyncio.sleep(0)
        built.append(type(gateway).__name__)
        return Service(gateway)

    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service, connect)
    catga.add_handlers(AskHandler)

    async with catga.running() as app:
        service = app.get(Service)
        with catga.override(Gateway, Fake()):
            results = await asyncio.gather(
                *(app.mediator.send(Ask()) for _ in range(10)),
                *(app.mediator.send(Ask(), timeout=5) for _ in range(10)),
            )
        assert await ask(catga) == "real"
        assert app.get(Service) is service

    assert results == [Success("fake")] * 20
    assert built == ["Gateway", "Fake"]


async def test_cancelling_one_who_waits_for_an_async_singleton_leaves_the_others_alone():
    gate = Gate()

    async def connect(gateway: Gateway) -> Service:
        if isinstance(gateway, Fake):
            await gate.pass_through()
        return Service(gateway)

    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service, connect)
    catga.add_handlers(AskHandler)

    async with catga.running() as app:
        with catga.override(Gateway, Fake()):
            first, second, third = [asyncio.ensure_future(app.mediator.send(Ask())) for _ in range(3)]
            await gate.reached()
            first.cancel()
            await asyncio.wait([first])
            gate.open()
            assert (await second, await third) == (Success("fake"), Success("fake"))

    assert first.cancelled()


async def test_an_override_with_an_async_provider_is_awaited():
    async def make() -> Gateway:
        return Fake()

    catga = shop()

    async with catga.running():
        with catga.override(Gateway, providers.Coroutine(make)):
            assert await ask(catga) == "fake"


async def test_asking_for_what_has_to_be_awaited_first_says_so():
    async def connect(gateway: Gateway) -> Service:
        return Service(gateway)

    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service, connect)
    catga.add_handlers(AskHandler)

    async with catga.running() as app:
        with catga.override(Gateway, Fake()):
            with pytest.raises(LookupError, match=r"Service .* override"):
                app.get(Service)
            await ask(catga)
            assert app.get(Service).gateway.name() == "fake"


async def test_what_was_built_under_an_override_is_closed_with_the_container():
    closed: list[str] = []

    class Closable(Service):
        async def aclose(self) -> None:
            closed.append(self.gateway.name())

    catga = add_catga()
    catga.add_singleton(Gateway)
    catga.add_singleton(Service, Closable)
    catga.add_handlers(AskHandler)

    async with catga.running():
        with catga.override(Gateway, Fake()):
            await ask(catga)
        assert closed == []

    assert closed == ["fake", "real"]


# --- what cannot work ---


class NeedsMore(Gateway):
    def __init__(self, missing: HandlerDouble) -> None: ...


class NeedsService(Gateway):
    def __init__(self, service: Service) -> None: ...


@pytest.mark.parametrize(
    ("double", "text"),
    [
        (NeedsMore, r"NeedsMore.*HandlerDouble"),
        (NeedsService, "NeedsService needs itself: NeedsService -> Service -> NeedsService"),
    ],
)
async def test_an_override_that_cannot_work_raises_at_once_and_changes_nothing(double: Any, text: str):
    catga = shop()

    async with catga.running() as app:
        service = app.get(Service)
        with pytest.raises(ConfigurationError, match=text):
            catga.override(Gateway, double)
        assert await ask(catga) == "real"
        assert app.get(Service) is service


async def test_an_override_that_would_make_a_singleton_hold_a_scoped_service_raises_at_once():
    class Session:
        pass

    class UsesSession(Gateway):
        def __init__(self, session: Session) -> None: ...

    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_transient(Gateway)
    catga.add_singleton(Service)
    catga.add_handlers(AskHandler)

    async with catga.running():
        with pytest.raises(
            ConfigurationError, match=r"Service is a singleton .* Session.* through UsesSession"
        ):
            catga.override(Gateway, UsesSession)
        assert await ask(catga) == "real"


async def test_an_override_is_not_blamed_for_mistakes_that_were_there():
    class Unfinished:
        def __init__(self, missing: HandlerDouble) -> None: ...

    catga = shop()
    catga.add_singleton(Unfinished)

    with catga.override(Gateway, Fake()):
        pass


async def test_a_double_that_cannot_be_made_fails_the_messages_that_need_it_and_no_other():
    class Breaks(Gateway):
        def __init__(self) -> None:
            raise OSError("no route to host")

    catga = shop()

    async with catga.running() as app:
        with catga.override(Gateway, Breaks):
            plain = await app.mediator.send(Ask())
            with_options = await app.mediator.send(Ask(), timeout=5)
        after = await ask(catga)

    for failed in (plain, with_options):
        assert failed.error.code == "INTERNAL_ERROR"
        assert re.search(r"Ask was not handled.*no route to host", failed.error.message)
    assert after == "real"


def breaks() -> Gateway:
    raise CatgaError("no gateway", code=ErrorCode.INTERNAL_ERROR) from OSError("no route to host")


async def breaks_later() -> Gateway:
    return breaks()


class Listing(StreamQuery[str]):
    pass


class Lists:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def handle(self, message: Listing) -> AsyncIterator[str]:
        yield self.service.gateway.name()


class Notices(EventHandler[Happened]):
    def __init__(self, service: Service) -> None: ...

    async def handle(self, message: Happened) -> None: ...


async def failing_send(app: CatgaApp) -> CatgaError:
    return (await app.mediator.send(Ask())).error


async def failing_send_with_options(app: CatgaApp) -> CatgaError:
    return (await app.mediator.send(Ask(), timeout=5)).error


async def failing_publish(app: CatgaApp) -> CatgaError:
    with pytest.raises(CatgaError) as caught:
        await app.mediator.publish(Happened())
    return caught.value


async def failing_stream(app: CatgaApp) -> CatgaError:
    with pytest.raises(CatgaError) as caught:
        [item async for item in app.mediator.stream(Listing())]
    return caught.value


@pytest.mark.parametrize("factory", [breaks, breaks_later])
@pytest.mark.parametrize("fail", [failing_send, failing_send_with_options, failing_publish, failing_stream])
async def test_what_a_double_fails_with_keeps_its_own_cause(
    fail: Callable[[CatgaApp], Awaitable[CatgaError]], factory: Callable[[], Any]
):
    catga = shop()
    catga.add_handlers(Lists, Notices)

    async with catga.running() as app:
        with catga.override(Gateway, factory):
            failed = await fail(app)

    assert failed.message == "no gateway"
    assert isinstance(failed.__cause__, OSError)


async def test_restoring_twice_does_nothing():
    catga = shop()

    async with catga.running():
        first = catga.override(Gateway, Named("one"))
        second = catga.override(Gateway, Named("two"))
        second.restore()
        second.restore()
        assert await ask(catga) == "one"
        first.restore()
        first.restore()
        assert await ask(catga) == "real"


# --- nested, in any order ---


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.sampled_from(["gateway", "service"])),
            st.tuples(st.just("leave"), st.integers(0, 9)),
        ),
        max_size=12,
    )
)
def test_overrides_nest_and_are_left_in_any_order_like_a_list_of_layers(steps: list[tuple[str, Any]]):
    async def play() -> None:
        catga = shop()
        layers: list[tuple[str, str, Any]] = []
        async with catga.running() as app:
            sender = app.mediator.sender(Ask)
            for number, (what, argument) in enumerate(steps):
                if what == "push":
                    double: Any = Named(f"fake {number}")
                    if argument == "service":
                        double = Service(double)
                    layers.append((argument, f"fake {number}", catga.override(argument, double)))
                elif layers:
                    _, _, override = layers.pop(argument % len(layers))
                    override.restore()
                services = [name for kind, name, _ in layers if kind == "service"]
                gateways = [name for kind, name, _ in layers if kind == "gateway"]
                expected = [*["real"], *gateways][-1] if not services else services[-1]
                assert await sender(Ask()) == Success(expected)
                assert await ask(catga) == expected

    asyncio.run(play())


async def test_concurrent_overrides_of_different_services_do_not_disturb_each_other():
    catga = shop()
    both = asyncio.Barrier(2)

    async def one() -> None:
        with catga.override(Gateway, Named("one")):
            await both.wait()
            await both.wait()

    async def two() -> None:
        await both.wait()
        with catga.override(Service, Service(Named("two"))):
            await both.wait()
            assert await ask(catga) == "two"

    async with catga.running():
        await asyncio.gather(one(), two())
        assert await ask(catga) == "real"


async def test_a_unit_of_work_may_be_overridden_by_a_class_with_a_scope_of_its_own():
    log: list[str] = []

    async def session() -> AsyncIterator[Gateway]:
        log.append("begin")
        yield Gateway()
        log.append("commit")

    class Closes(Gateway):
        async def aclose(self) -> None:
            log.append("closed")

    catga = add_catga()
    catga.add_scoped(Gateway, session)
    catga.add_transient(Service)
    catga.add_handlers(AskHandler)

    async with catga.running():
        await ask(catga)
        with catga.override(Gateway, Closes):
            await ask(catga)

    assert log == ["begin", "commit", "closed"]
