from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaMediator,
    Command,
    ConfigurationError,
    MessageContext,
    StreamHandler,
    StreamQuery,
    Transport,
    TransportCapabilities,
    add_catga,
    message,
)
from catga_core.event_sourcing import add_upcasters, upcaster
from catga_core.interfaces import StreamTransport
from catga_core.memory import LocalBus, LocalTransport
from catga_core.messages.context import active_context
from catga_core.runtime.scope import active_scope


class Count(StreamQuery[int]):
    to: int


class Ask(Command[int]):
    pass


class Session:
    log: list[str]

    def __init__(self) -> None:
        self.log.append("opened")

    async def aclose(self) -> None:
        self.log.append("closed")


class CountHandler(StreamHandler[Count, int]):
    def __init__(self, session: Session) -> None:
        self.session = session

    async def handle(self, message: Count) -> AsyncIterator[int]:
        try:
            for number in range(message.to):
                await asyncio.sleep(0)
                yield number
        finally:
            self.session.log.append("generator ended")


@pytest.fixture(autouse=True)
def empty_log():
    Session.log = []


async def gather(stream: AsyncIterator[int], got: list[int]) -> None:
    async for number in stream:
        got.append(number)


async def numbers(stream: AsyncIterator[int]) -> list[int]:
    return [number async for number in stream]


async def test_the_items_come_in_their_order_and_the_scope_is_closed_after_the_last():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(CountHandler)

    async with catga.running() as app:
        assert await numbers(app.mediator.stream(Count(4))) == [0, 1, 2, 3]

    assert Session.log == ["opened", "generator ended", "closed"]


async def test_an_empty_stream_has_no_items():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(CountHandler)

    async with catga.running() as app:
        assert await numbers(app.mediator.stream(Count(0))) == []


async def test_a_function_answers_a_stream_as_well():
    async def count(message: Count) -> AsyncIterator[int]:
        for number in range(message.to):
            yield number

    catga = add_catga()
    catga.add_handlers(count)

    async with catga.running() as app:
        assert await numbers(app.mediator.stream(Count(2))) == [0, 1]


async def test_a_handler_may_return_an_iterator_it_did_not_write():
    async def elsewhere(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    class Passes(StreamHandler[Count, int]):
        def handle(self, message: Count) -> AsyncIterator[int]:
            return elsewhere(message.to)

    catga = add_catga()
    catga.add_handlers(Passes)

    async with catga.running() as app:
        assert await numbers(app.mediator.stream(Count(2))) == [0, 1]


def test_a_handler_that_has_to_be_awaited_before_it_gives_items_is_refused():
    async def count(message: Count) -> AsyncIterator[int]:
        raise NotImplementedError

    with pytest.raises(
        ConfigurationError, match=r"count .* has to be awaited before it gives any item: yield"
    ):
        add_catga().add_handlers(count)


async def test_items_that_came_before_an_error_are_there_and_then_the_error():
    async def count(message: Count) -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ValueError("no more")

    catga = add_catga()
    catga.add_handlers(count)
    got: list[int] = []

    async with catga.running() as app:
        with pytest.raises(CatgaError) as raised:
            await gather(app.mediator.stream(Count(9)), got)

    assert got == [1, 2]
    assert (raised.value.code, raised.value.message) == ("HANDLER_FAILED", "count failed: no more")


async def test_a_catga_error_in_the_middle_keeps_its_code():
    async def count(message: Count) -> AsyncIterator[int]:
        yield 1
        raise CatgaError("no more", code="DRY", details={"after": 1})

    catga = add_catga()
    catga.add_handlers(count)

    async with catga.running() as app:
        with pytest.raises(CatgaError) as raised:
            await numbers(app.mediator.stream(Count(9)))

    assert (raised.value.code, raised.value.details) == ("DRY", {"after": 1})


async def test_leaving_early_closes_generator_and_scope_at_once():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(CountHandler)

    async with catga.running() as app:
        async with aclosing(app.mediator.stream(Count(9))) as stream:
            async for number in stream:
                if number == 2:
                    break
        log_then = list(Session.log)

    assert log_then == ["opened", "generator ended", "closed"]


async def test_leaving_early_ends_a_unit_of_work_well():
    ended: list[str] = []

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except BaseException as error:
            ended.append(f"rolled back on {type(error).__name__}")
            raise
        ended.append("committed")

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(CountHandler)

    async with catga.running() as app, aclosing(app.mediator.stream(Count(9))) as stream:
        await anext(stream)

    assert ended == ["committed"]


async def test_a_unit_of_work_sees_what_the_handler_raised():
    ended: list[str] = []

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except ValueError as error:
            ended.append(str(error))
            raise

    async def count(message: Count, session: Session) -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(count)

    async with catga.running() as app:
        with pytest.raises(CatgaError, match="no more"):
            await numbers(app.mediator.stream(Count(9)))

    assert ended == ["no more"]


async def test_a_commit_that_fails_after_the_last_item_fails_the_stream():
    async def session() -> AsyncIterator[Session]:
        yield Session()
        raise OSError("disk full")

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(CountHandler)
    got: list[int] = []

    async with catga.running() as app:
        with pytest.raises(CatgaError, match="disk full") as raised:
            await gather(app.mediator.stream(Count(2)), got)

    assert (got, raised.value.code) == ([0, 1], "HANDLER_FAILED")


async def test_context_and_scope_do_not_leak_to_the_consumer_between_two_items():
    inside: list[str] = []

    async def count(message: Count, context: MessageContext) -> AsyncIterator[int]:
        for number in range(message.to):
            found = active_context.get()
            inside.append("none" if found is None else found.message_id)
            yield number

    catga = add_catga()
    catga.add_handlers(count)

    async with catga.running() as app:
        async for _ in app.mediator.stream(Count(2), message_id="7"):
            assert active_context.get() is None
            assert active_scope.get() is None

    assert inside == ["7", "7"]


async def test_a_stream_asked_in_a_handler_continues_the_conversation():
    async def count(message: Count, context: MessageContext) -> AsyncIterator[int]:
        assert context.causation_id == "outer"
        yield 1

    async def ask(message: Ask, mediator: CatgaMediator) -> int:
        return sum([number async for number in mediator.stream(Count(1))])

    catga = add_catga()
    catga.add_handlers(count, ask)

    async with catga.running() as app:
        assert (await app.mediator.send(Ask(), message_id="outer")).unwrap() == 1


async def test_a_stream_ends_at_its_deadline():
    async def count(message: Count) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    catga = add_catga()
    catga.add_handlers(count)
    got: list[int] = []

    async with catga.running() as app:
        with pytest.raises(CatgaError) as raised:
            await gather(app.mediator.stream(Count(9), timeout=0.02), got)

    assert (got, raised.value.code) == ([1], "TIMEOUT")


async def test_a_stream_whose_deadline_has_passed_is_not_started():
    started: list[int] = []

    async def count(message: Count) -> AsyncIterator[int]:
        started.append(1)
        yield 1

    catga = add_catga()
    catga.add_handlers(count)

    async with catga.running() as app:
        with pytest.raises(CatgaError) as raised:
            await numbers(app.mediator.stream(Count(9), timeout=0))

    assert (started, raised.value.code) == ([], "TIMEOUT")


async def test_cancelling_the_consumer_cancels_the_handler():
    reached = asyncio.Event()
    ended: list[str] = []

    async def count(message: Count) -> AsyncIterator[int]:
        yield 1
        try:
            reached.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    catga = add_catga()
    catga.add_handlers(count)

    async with catga.running() as app:
        reading = asyncio.ensure_future(numbers(app.mediator.stream(Count(9))))
        await reached.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert ended == ["cancelled"]


async def test_a_stream_nobody_handles_says_so():
    async with add_catga().running() as app:
        with pytest.raises(CatgaError) as raised:
            await numbers(app.mediator.stream(Count(1)))

    assert raised.value.code == "HANDLER_NOT_FOUND"


@pytest.mark.parametrize("thing", [Ask(), 1])
async def test_what_is_no_stream_query_is_a_type_error(thing: Any):
    async with add_catga().running() as app:
        with pytest.raises(TypeError):
            await numbers(app.mediator.stream(thing))


async def test_after_the_stop_a_stream_is_refused():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(CountHandler)
    async with catga.running() as app:
        mediator = app.mediator

    with pytest.raises(CatgaError, match="has stopped"):
        await numbers(mediator.stream(Count(1)))


async def test_a_stream_that_is_being_read_is_in_flight():
    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(CountHandler)

    async with catga.running() as app:
        async with aclosing(app.mediator.stream(Count(9))) as stream:
            await anext(stream)
            reading = catga.health()["mediator"].details["in_flight"]
        done = catga.health()["mediator"].details["in_flight"]

    assert (reading, done) == (1, 0)


class Silent(LocalTransport):
    """A transport that carries no streams."""

    @property
    def capabilities(self) -> TransportCapabilities:
        return TransportCapabilities(remote=False)


async def failure_of(stream: AsyncIterator[Any]) -> CatgaError:
    with pytest.raises(CatgaError) as raised:
        await gather(stream, [])
    return raised.value


async def test_transport_without_streams_is_no_way_for_them():
    bus = LocalBus()
    service, asker = add_catga(), add_catga()
    for each in (service, asker):
        each.add_singleton(Transport, Silent(bus))
    service.add_scoped(Session)
    service.add_handlers(CountHandler)

    async with service.running(), asker.running() as app:
        error = await failure_of(app.mediator.stream(Count(1)))

    assert error.code == "HANDLER_NOT_FOUND"
    assert "transport that carries streams" in error.message


async def test_streams_may_have_a_transport_of_their_own():
    service, asker = add_catga(), add_catga()
    bus = LocalBus()
    for each in (service, asker):
        each.add_singleton(StreamTransport, LocalTransport(bus))
    service.add_scoped(Session)
    service.add_handlers(CountHandler)

    async with service.running(), asker.running() as app:
        assert await numbers(app.mediator.stream(Count(3))) == [0, 1, 2]
        assert "stream_transport" in asker.health()
        assert app.stream_transport.capabilities.streams


async def test_handler_here_answers_before_a_transport_is_asked():
    elsewhere: list[int] = []

    async def other(message: Count) -> AsyncIterator[int]:
        elsewhere.append(message.to)
        yield -1

    bus = LocalBus()
    service, asker = add_catga(), add_catga()
    for each in (service, asker):
        each.add_singleton(Transport, LocalTransport(bus))
        each.add_scoped(Session)
    service.add_handlers(other)
    asker.add_handlers(CountHandler)

    async with service.running(), asker.running() as app:
        assert await numbers(app.mediator.stream(Count(2))) == [0, 1]
    assert elsewhere == []


@pytest.mark.parametrize("scoped", [False, True])
async def test_wrong_item_fails_the_stream_with_every_problem(scoped: bool):
    ended: list[str] = []

    async def count(message: Count) -> AsyncIterator[int]:
        try:
            yield 1
            yield "two"  # type: ignore[misc]  # what the test is about
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    catga = add_catga()
    if scoped:
        catga.add_scoped(Session)
    catga.add_handlers(count)
    got: list[int] = []

    async with catga.running() as app:
        with pytest.raises(CatgaError) as raised:
            await gather(app.mediator.stream(Count(9)), got)

    assert got == [1]
    assert (raised.value.code, raised.value.retryable) == ("SERIALIZATION_FAILED", False)
    assert "count yielded a wrong item for Count" in raised.value.message
    assert "Yield int" in raised.value.message
    assert [each["field"] for each in raised.value.details["errors"]] == [""]
    assert ended == ["GeneratorExit"]


async def test_int_for_a_float_becomes_one_as_a_receiver_reads_it():
    class Rates(StreamQuery[float]):
        pass

    async def rates(message: Rates) -> AsyncIterator[float]:
        yield 1
        yield 1.5

    catga = add_catga()
    catga.add_handlers(rates)
    async with catga.running() as app:
        assert [type(item) async for item in app.mediator.stream(Rates())] == [float, float]


async def test_older_stream_query_is_answered_by_the_newer_handler_in_process():
    @message(name="stream.prices")
    class PricesInCents(StreamQuery[str]):
        cents: int

    @message(name="stream.prices", version=2)
    class Prices(StreamQuery[str]):
        amount: str

    @upcaster("stream.prices", from_version=1)
    def in_amounts(fields: dict[str, Any]) -> dict[str, Any]:
        return {"amount": str(fields["cents"] / 100)}

    async def prices(message: Prices) -> AsyncIterator[str]:
        yield message.amount

    catga = add_catga()
    catga.add_handlers(prices)
    add_upcasters(catga, in_amounts)
    async with catga.running() as app:
        assert [price async for price in app.mediator.stream(PricesInCents(150))] == ["1.5"]
