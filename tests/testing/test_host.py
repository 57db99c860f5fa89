"""`test_host` replaces, records, and knows when all work is done."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaMediator,
    Command,
    ConfigurationError,
    ErrorCode,
    Event,
    EventHandler,
    Success,
    SystemClock,
    Transport,
    add_catga,
)
from catga_core.memory import LocalBus, LocalTransport
from catga_core.messages import Request
from catga_core.messages.serialization import msgpack_serializer
from catga_testing import ManualClock, NotSettledError, Outcome, Published, Sent, eventually, test_host
from tests.testing.host_parts import (
    Archive,
    Bought,
    BrokenListener,
    Buy,
    BuyHandler,
    Charge,
    ChargeHandler,
    FakeGateway,
    Gateway,
    Letters,
    List,
    ListHandler,
    MakeTransport,
    RealGateway,
    Thank,
    Thanked,
    Unhandled,
    compose,
)

pytest_plugins = ["pytester"]

EVERYTHING = (BuyHandler, ChargeHandler, Thank, Archive, ListHandler)


def _local() -> MakeTransport:
    bus = LocalBus()
    return lambda: LocalTransport(bus)


@pytest.fixture(params=["none", "local", pytest.param("nats", marks=pytest.mark.nats)])
def network(request: pytest.FixtureRequest) -> MakeTransport | None:
    """What connects the applications of one test: nothing, a bus, a server."""
    if request.param == "none":
        return None
    if request.param == "local":
        return _local()
    from catga_nats import NatsOptions, NatsTransport

    url = request.getfixturevalue("nats_server_shared").url
    options = NatsOptions(url, subject_prefix=f"host-{uuid.uuid4().hex}")
    return lambda: NatsTransport(options, msgpack_serializer(), SystemClock())


# --- overrides ---


async def test_overrides_are_in_force_before_anything_is_made_and_gone_afterwards() -> None:
    made: list[str] = []

    class CountedGateway(RealGateway):
        def __init__(self) -> None:
            made.append("real")

    catga = compose(*EVERYTHING)
    catga.add_singleton(Gateway, CountedGateway)
    fake = FakeGateway()

    async with test_host(catga, overrides={Gateway: fake}) as host:
        under_override = await host.send(Charge(7))
    made_meanwhile = list(made)
    async with catga.running() as app:
        afterwards = await app.mediator.send(Charge(7))

    assert under_override == Success(7)
    assert fake.charged == [7]
    assert made_meanwhile == []
    assert afterwards.error.code == "REAL_MONEY"


async def test_a_provider_is_overridden_by_its_name() -> None:
    clock = ManualClock(datetime(1999, 12, 31, tzinfo=UTC))

    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway(), "clock": clock}) as host:
        await host.publish(Thanked("a lamp"))

        assert host.app.clock is clock
        assert host.app.get(Letters) == ["archived a lamp in 1999"]


async def test_a_handler_is_overridden_by_its_class() -> None:
    async def charge(message: Charge) -> int:
        return message.amount * 100

    async with test_host(compose(*EVERYTHING), overrides={ChargeHandler: charge}) as host:
        assert await host.send(Charge(2)) == Success(200)


async def test_overrides_are_restored_when_the_test_fails() -> None:
    catga = compose(*EVERYTHING)

    with pytest.raises(ZeroDivisionError):
        async with test_host(catga, overrides={Gateway: FakeGateway()}):
            raise ZeroDivisionError

    async with catga.running() as app:
        assert isinstance(app.get(Gateway), RealGateway)
        assert type(app.mediator) is CatgaMediator


async def test_overrides_are_restored_when_the_start_fails() -> None:
    class Broken(EventHandler[Bought]):
        def __init__(self, missing: Unhandled) -> None: ...

        async def handle(self, message: Bought) -> None: ...

    catga = compose(*EVERYTHING, Broken)

    with pytest.raises(ConfigurationError, match="Broken needs Unhandled"):
        async with test_host(catga, overrides={Gateway: FakeGateway()}):
            pytest.fail("it started")

    assert isinstance(catga.get(Gateway), RealGateway)


async def test_a_cycle_behind_the_transport_is_told_as_such() -> None:
    class First:
        def __init__(self, second: Second) -> None: ...

    class Second:
        def __init__(self, first: First) -> None: ...

    def made(first: First) -> LocalTransport:
        return LocalTransport(LocalBus())

    catga = compose(*EVERYTHING)
    catga.add_singleton(Second)
    catga.add_singleton(First)
    catga.add_singleton(Transport, made)

    with pytest.raises(ConfigurationError, match="First needs itself"):
        async with test_host(catga):
            pytest.fail("it started")


async def test_an_override_of_something_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="nosuch"):
        async with test_host(compose(*EVERYTHING), overrides={"nosuch": object()}):
            pytest.fail("it started")


async def test_the_real_transport_is_there_again_afterwards() -> None:
    catga = compose(*EVERYTHING, transport=_local())

    async with test_host(catga, overrides={Gateway: FakeGateway()}):
        pass

    async with catga.running() as app:
        assert type(app.transport) is LocalTransport


# --- records ---


async def test_everything_sent_and_published_is_recorded_in_order() -> None:
    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway()}) as host:
        await host.send(Buy("a lamp"))

        assert [type(each.message) for each in host.messages] == [Buy, Charge, Bought, Thanked]
        assert [type(each) for each in host.messages] == [Sent, Sent, Published, Published]
        assert [each.nested for each in host.messages] == [False, True, True, True]
        assert {each.outcome for each in host.messages} == {Outcome.SUCCEEDED}


async def test_a_record_holds_the_message_its_context_and_its_result() -> None:
    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway()}) as host:
        await host.send(Buy("a lamp"), message_id="m-1", headers={"tenant": "acme"})

        (bought,) = host.sent(Buy)
        (charged,) = host.sent(Charge)
        assert bought.message == Buy("a lamp")
        assert bought.result == Success("a lamp for 3")
        assert bought.context.message_id == "m-1"
        assert dict(bought.context.headers) == {"tenant": "acme"}
        assert charged.message.amount == 3
        assert charged.result == Success(3)
        assert (charged.context.causation_id, charged.context.correlation_id) == ("m-1", "m-1")


async def test_a_deadline_is_recorded() -> None:
    clock = ManualClock(1000.0)
    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway(), "clock": clock}) as host:
        await host.send(Charge(1), timeout=5)

        assert host.sent(Charge)[0].context.deadline == 1005.0


async def test_failures_are_recorded_with_their_errors() -> None:
    async with test_host(compose(ChargeHandler)) as host:
        await host.send(Charge(1))
        await host.send(Unhandled())

        charged, unhandled = host.sent()
        assert charged.outcome is unhandled.outcome is Outcome.FAILED
        assert charged.result is not None
        assert charged.result.error.code == "REAL_MONEY"
        assert unhandled.result is not None
        assert unhandled.result.error.code == ErrorCode.HANDLER_NOT_FOUND


async def test_records_are_found_by_a_base_class() -> None:
    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway()}) as host:
        await host.send(Buy("a lamp"))

        assert len(host.sent(Request)) == len(host.sent()) == 2
        assert len(host.published(Event)) == len(host.published()) == 2


async def test_an_event_without_handlers_is_recorded() -> None:
    async with test_host(compose(ChargeHandler)) as host:
        await host.publish(Bought("a lamp"))

        assert [each.message for each in host.published(Bought)] == [Bought("a lamp")]


async def test_batches_senders_and_streams_are_recorded() -> None:
    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway()}) as host:
        await host.mediator.send_batch([Charge(1), Charge(2)])
        await host.mediator.sender(Charge)(Charge(3))
        await host.mediator.publish_batch([Thanked("a"), Thanked("b")])
        items = [item async for item in host.mediator.stream(List(3))]
        async with aclosing(host.mediator.stream(List(9))) as stream:
            async for _ in stream:
                break

        assert items == [0, 1, 2]
        assert sorted(each.message.amount for each in host.sent(Charge)) == [1, 2, 3]
        assert [each.message.item for each in host.published(Thanked)] == ["a", "b"]
        whole, left_early = host.sent(List)
        assert whole.result == Success([0, 1, 2])
        assert left_early.result == Success([0])


async def test_a_cancelled_send_is_recorded_as_cancelled() -> None:
    gateway = FakeGateway()
    gateway.release.clear()
    async with test_host(compose(*EVERYTHING), overrides={Gateway: gateway}) as host:
        task = asyncio.create_task(host.send(Charge(1)))
        await asyncio.sleep(0)
        assert host.sent(Charge)[0].outcome is Outcome.RUNNING

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert host.sent(Charge)[0].outcome is Outcome.CANCELLED
        await host.settled()


async def test_failing_event_handlers_are_recorded(network: MakeTransport | None) -> None:
    catga = compose(BrokenListener, Thank, Archive, transport=network)

    async with test_host(catga) as host:
        await host.publish(Bought("a lamp"))

        (failure,) = host.failures(Bought)
        assert (failure.handler, failure.message) == ("BrokenListener", Bought("a lamp"))
        assert failure.error.code == ErrorCode.HANDLER_FAILED
        assert failure.context is not None
        assert failure.context.message_id == host.published(Bought)[0].context.message_id
        assert len(host.app.get(Letters)) == 2


async def test_an_event_that_cannot_be_handed_over_is_recorded_with_its_error() -> None:
    class Refusing(LocalTransport):
        async def publish(self, *_: Any) -> None:
            raise CatgaError("the line is cut", code=ErrorCode.TRANSPORT_FAILED)

    async with test_host(compose(Thank, Archive, transport=lambda: Refusing(LocalBus()))) as host:
        with pytest.raises(CatgaError, match="the line is cut"):
            await host.publish(Bought("a lamp"))

        (published,) = host.published(Bought)
        assert published.outcome is Outcome.FAILED
        assert published.error is not None
        await host.settled()


async def test_clear_forgets_what_was_recorded() -> None:
    async with test_host(compose(*EVERYTHING), overrides={Gateway: FakeGateway()}) as host:
        await host.send(Charge(1))

        host.clear()

        assert host.messages == ()
        await host.send(Charge(2))
        assert [each.message.amount for each in host.sent(Charge)] == [2]


async def test_nothing_is_recorded_of_a_later_run() -> None:
    catga = compose(*EVERYTHING, BrokenListener)
    async with test_host(catga, overrides={Gateway: FakeGateway()}) as host:
        await host.send(Charge(1))

    async with catga.running() as app:
        await app.mediator.send(Charge(2))
        await app.mediator.publish(Bought("a lamp"))
        assert app.health()["mediator"].details["failed_event_handlers"] == 1

    assert len(host.messages) == 1
    assert host.failures() == []


# --- when all is done ---


async def test_a_send_returns_when_all_cascaded_work_is_done(network: MakeTransport | None) -> None:
    catga = compose(*EVERYTHING, transport=network)

    async with test_host(catga, overrides={Gateway: FakeGateway(), "clock": ManualClock()}) as host:
        result = await host.send(Buy("a lamp"))

        assert result == Success("a lamp for 3")
        assert host.app.get(Letters) == ["thanks for a lamp", "archived a lamp in 2030"]


async def test_a_publish_returns_when_all_cascaded_work_is_done(network: MakeTransport | None) -> None:
    catga = compose(Thank, Archive, transport=network)

    async with test_host(catga, overrides={"clock": ManualClock()}) as host:
        for _ in range(20):
            await host.publish(Bought("a lamp"))

            assert host.app.get(Letters) == ["thanks for a lamp", "archived a lamp in 2030"]
            host.app.get(Letters).clear()


@pytest.mark.parametrize("network", ["local", pytest.param("nats", marks=pytest.mark.nats)], indirect=True)
async def test_hosts_on_one_network_wait_for_each_other(network: MakeTransport) -> None:
    shop = compose(BuyHandler, service="shop", transport=network)
    bank = compose(ChargeHandler, service="bank", transport=network)
    post = compose(Thank, Archive, service="post", transport=network)
    fake = FakeGateway()

    async with (
        test_host(bank, overrides={Gateway: fake}) as banks,
        test_host(post, overrides={"clock": ManualClock()}) as posts,
        test_host(shop) as shops,
    ):
        result = await shops.send(Buy("a lamp"))

        assert result == Success("a lamp for 3")
        assert posts.app.get(Letters) == ["thanks for a lamp", "archived a lamp in 2030"]
        assert [type(each.message) for each in shops.messages] == [Buy, Charge, Bought]
        assert [each.message for each in banks.received(Charge)] == [Charge(3)]
        assert [each.result for each in banks.received()] == [Success(3)]
        assert [type(each.message) for each in posts.received()] == [Bought, Thanked]
        assert [each.nested for each in posts.published(Thanked)] == [True]


@pytest.mark.parametrize("network", ["local", pytest.param("nats", marks=pytest.mark.nats)], indirect=True)
async def test_replicas_of_a_service_share_its_deliveries(network: MakeTransport) -> None:
    first = compose(Thank, Archive, service="post", transport=network)
    second = compose(Thank, Archive, service="post", transport=network)

    async with test_host(first) as one, test_host(second) as other:
        for _ in range(20):
            await one.publish(Bought("a lamp"))

        assert len(one.received(Bought)) + len(other.received(Bought)) == 20
        assert len(one.app.get(Letters)) + len(other.app.get(Letters)) == 40


@pytest.mark.parametrize("network", ["local", pytest.param("nats", marks=pytest.mark.nats)], indirect=True)
async def test_stream_from_another_application_is_recorded_by_both(network: MakeTransport) -> None:
    shop = compose(ListHandler, service="shop", transport=network)
    till = compose(service="till", transport=network)

    async with test_host(shop) as answers, test_host(till) as asks:
        items = [item async for item in asks.mediator.stream(List(3))]
        async with aclosing(asks.mediator.stream(List(1000))) as stream:
            async for _ in stream:
                break
        await eventually(lambda: len(answers.received(List)) == 2)
        whole, left_early = answers.received(List)
        await eventually(lambda: whole.outcome is Outcome.SUCCEEDED)

        assert items == [0, 1, 2]
        assert [each.message for each in asks.sent(List)] == [List(3), List(1000)]
        assert whole.context.message_id == asks.sent(List)[0].context.message_id
        assert left_early.outcome is Outcome.CANCELLED


async def test_work_that_a_handler_leaves_behind_counts_while_it_sends() -> None:
    tasks: list[asyncio.Task[object]] = []
    gateway = FakeGateway()
    gateway.release.clear()

    class Leaving(EventHandler[Bought]):
        def __init__(self, mediator: CatgaMediator) -> None:
            self._mediator = mediator

        async def handle(self, message: Bought) -> None:
            tasks.append(asyncio.create_task(_charge(self._mediator)))
            await asyncio.sleep(0)

    async def _charge(mediator: CatgaMediator) -> object:
        return await mediator.send(Charge(1))

    async with test_host(compose(ChargeHandler, Leaving), overrides={Gateway: gateway}) as host:
        asyncio.get_running_loop().call_soon(gateway.release.set)
        await host.publish(Bought("a lamp"))

        assert gateway.charged == [1]
        await asyncio.gather(*tasks)


async def test_what_still_runs_is_named() -> None:
    gateway = FakeGateway()
    gateway.release.clear()
    async with test_host(compose(*EVERYTHING), overrides={Gateway: gateway}) as host:
        task = asyncio.create_task(host.mediator.send(Buy("a lamp"), message_id="m-1"))
        await asyncio.sleep(0)

        with pytest.raises(NotSettledError) as raised:
            await host.settled(within=0.01)

        text = str(raised.value)
        assert "not settled within 0.01 s" in text
        assert "shop waits for Buy (m-1)" in text
        assert "shop waits for Charge" in text
        gateway.release.set()
        await task
        await host.settled()


async def test_what_runs_behind_a_timeout_is_named() -> None:
    gateway = FakeGateway()
    gateway.release.clear()
    catga = compose(*EVERYTHING, transport=_local())
    async with test_host(catga, overrides={Gateway: gateway}) as host:
        result = await host.app.transport.request(*_outside(Charge(1), seconds=0.01))
        assert result.error.code == ErrorCode.TIMEOUT

        with pytest.raises(NotSettledError, match="shop handles Charge"):
            await host.settled(within=0.01)

        gateway.release.set()
        await host.settled()
        assert gateway.charged == [1]


async def test_an_event_that_has_not_arrived_is_named() -> None:
    class Losing(LocalTransport):
        async def publish(self, *_: Any) -> None:
            return

    async with test_host(
        compose(Thank, Archive, service="post", transport=lambda: Losing(LocalBus()))
    ) as host:
        with pytest.raises(NotSettledError, match=r"Bought v1 \(m-1\) has not arrived at post"):
            await host.publish(Bought("a lamp"), message_id="m-1", within=0.01)


async def test_a_service_that_has_stopped_is_not_waited_for() -> None:
    bus = LocalBus()

    class Losing(LocalTransport):
        async def publish(self, *_: Any) -> None:
            return

    post = compose(Thank, Archive, service="post", transport=lambda: LocalTransport(bus))
    shop = compose(service="shop", transport=lambda: Losing(bus))

    async with test_host(shop, network="one") as shops:
        async with test_host(post, network="one"):
            await shops.mediator.publish(Bought("a lamp"))
            with pytest.raises(NotSettledError):
                await shops.settled(within=0.01)

        await shops.settled(within=0.5)


async def test_hosts_of_different_networks_do_not_wait_for_each_other() -> None:
    class Losing(LocalTransport):
        async def publish(self, *_: Any) -> None:
            return

    here = compose(Thank, Archive, service="here", transport=lambda: Losing(LocalBus()))
    there = compose(Thank, Archive, service="there", transport=lambda: Losing(LocalBus()))

    async with test_host(here, network="a"), test_host(there, network="b") as other:
        await other.app.transport.drain(0)
        await other.publish(Bought("a lamp"), within=0.5)


async def test_a_transport_that_is_made_by_an_async_factory_is_observed() -> None:
    bus = LocalBus()

    async def made() -> Transport:
        await asyncio.sleep(0)
        return LocalTransport(bus)

    async with test_host(compose(Thank, Archive, transport=made)) as host:  # type: ignore[arg-type]
        await host.publish(Bought("a lamp"))

        assert len(host.received()) == 2


# --- within ---


@pytest.mark.parametrize("does", ["send", "publish"])
async def test_message_whose_handler_hangs_is_not_settled(does: str) -> None:
    cancelled: list[str] = []

    async def hangs(message: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(type(message).__name__)

    class Hang(Command[None]): ...

    class Hung(Event): ...

    async def on_command(message: Hang) -> None:
        await hangs(message)

    async def on_event(message: Hung) -> None:
        await hangs(message)

    catga = add_catga()
    catga.add_handlers(on_command, on_event)
    async with test_host(catga) as host:
        with pytest.raises(NotSettledError, match=r"not settled within 0.05 s:\n  - .* H[au]ng \("):
            await (host.send(Hang(), within=0.05) if does == "send" else host.publish(Hung(), within=0.05))
        assert cancelled == ["Hang" if does == "send" else "Hung"]
        assert host.messages[0].outcome is Outcome.CANCELLED


# --- what is given ---


@pytest.mark.parametrize(("given", "hint"), [(lambda: add_catga(), "Call it"), (None, "got None")])
async def test_host_of_what_is_not_a_container_is_refused(given: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=f"takes a container, as add_catga.*{hint}"):
        async with test_host(given):
            pass


# --- pytest ---


def test_pytest_does_not_take_test_host_for_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from catga_testing import test_host

        def test_own():
            assert callable(test_host)
        """
    )

    outcome = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")

    outcome.assert_outcomes(passed=1)


def _outside(request: Request[Any], *, seconds: float) -> tuple[Any, ...]:
    from catga_core import MessageContext, message_type

    deadline = SystemClock().time() + seconds
    return message_type(type(request)), request, MessageContext("m", "m", None, deadline)
