from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from catga_core import (
    CatgaMediator,
    Command,
    ConfigurationError,
    Event,
    EventHandler,
    MessageContext,
    Query,
    RequestHandler,
    add_catga,
    message,
)
from catga_core.messages.context import active_context


def returned(context: MessageContext) -> MessageContext:
    """Return a context as a result that could travel: its headers are a dict."""
    return msgspec.structs.replace(context, headers=dict(context.headers))


class Outer(Command[list[MessageContext]]):
    timeout: float | None = None


class Inner(Query[MessageContext]):
    pass


class Happened(Event):
    pass


class InnerHandler(RequestHandler[Inner, MessageContext]):
    def __init__(self, context: MessageContext) -> None:
        self.context = context

    async def handle(self, message: Inner) -> MessageContext:
        return returned(self.context)


class OuterHandler(RequestHandler[Outer, list[MessageContext]]):
    def __init__(self, context: MessageContext, mediator: CatgaMediator) -> None:
        self.context = context
        self.mediator = mediator

    async def handle(self, message: Outer) -> list[MessageContext]:
        if message.timeout is None:
            inner = await self.mediator.send(Inner())
        else:
            inner = await self.mediator.send(Inner(), timeout=message.timeout)
        return [returned(self.context), inner.unwrap()]


class Sees(EventHandler[Happened]):
    seen: list[MessageContext]

    def __init__(self, context: MessageContext) -> None:
        self.context = context

    async def handle(self, message: Happened) -> None:
        type(self).seen.append(self.context)


class PublishesHandler(RequestHandler[Outer, list[MessageContext]]):
    def __init__(self, context: MessageContext, mediator: CatgaMediator) -> None:
        self.context = context
        self.mediator = mediator

    async def handle(self, message: Outer) -> list[MessageContext]:
        await self.mediator.publish(Happened())
        return [returned(self.context)]


async def test_a_message_sent_from_outside_begins_a_conversation():
    catga = add_catga()
    catga.add_handlers(InnerHandler)

    async with catga.running() as app:
        context = (await app.mediator.send(Inner())).unwrap()

    assert len(context.message_id) == 32
    assert context.correlation_id == context.message_id
    assert (context.causation_id, context.deadline, dict(context.headers)) == (None, None, {})


async def test_a_nested_send_continues_the_conversation():
    catga = add_catga()
    catga.add_handlers(InnerHandler, OuterHandler)

    async with catga.running() as app:
        outer, inner = (await app.mediator.send(Outer())).unwrap()

    assert inner.message_id != outer.message_id
    assert inner.correlation_id == outer.correlation_id
    assert inner.causation_id == outer.message_id


async def test_a_published_event_continues_the_conversation():
    Sees.seen = []
    catga = add_catga()
    catga.add_handlers(PublishesHandler, Sees)

    async with catga.running() as app:
        [outer] = (await app.mediator.send(Outer())).unwrap()

    assert [(each.correlation_id, each.causation_id) for each in Sees.seen] == [
        (outer.correlation_id, outer.message_id)
    ]


async def test_a_message_id_that_is_given_is_kept():
    catga = add_catga()
    catga.add_handlers(InnerHandler)

    async with catga.running() as app:
        context = (await app.mediator.send(Inner(), message_id="order-7")).unwrap()

    assert (context.message_id, context.correlation_id) == ("order-7", "order-7")


async def test_headers_travel_with_their_message_and_no_further():
    catga = add_catga()
    catga.add_handlers(InnerHandler, OuterHandler)

    async with catga.running() as app:
        outer, inner = (await app.mediator.send(Outer(), headers={"tenant": "a"})).unwrap()

    assert dict(outer.headers) == {"tenant": "a"}
    assert dict(inner.headers) == {}


async def test_a_nested_send_inherits_the_deadline():
    catga = add_catga()
    catga.add_handlers(InnerHandler, OuterHandler)
    before = time.time()

    async with catga.running() as app:
        outer, inner = (await app.mediator.send(Outer(), timeout=30)).unwrap()

    assert outer.deadline is not None
    assert before + 30 <= outer.deadline <= time.time() + 30
    assert inner.deadline == outer.deadline


@pytest.mark.parametrize(("own", "shorter"), [(5, True), (60, False)])
async def test_a_nested_deadline_is_never_later_than_the_surrounding_one(own: float, shorter: bool):
    catga = add_catga()
    catga.add_handlers(InnerHandler, OuterHandler)

    async with catga.running() as app:
        outer, inner = (await app.mediator.send(Outer(own), timeout=30)).unwrap()

    assert inner.deadline is not None
    assert outer.deadline is not None
    assert (inner.deadline < outer.deadline) is shorter


async def test_the_trace_goes_on_in_nested_sends():
    catga = add_catga()
    catga.add_handlers(InnerHandler, OuterHandler)
    traced = MessageContext("1", "1", traceparent="00-abc-def-01", tracestate="a=b")

    async with catga.running() as app:
        token = active_context.set(traced)
        try:
            outer, inner = (await app.mediator.send(Outer())).unwrap()
        finally:
            active_context.reset(token)

    assert {(each.traceparent, each.tracestate) for each in (outer, inner)} == {("00-abc-def-01", "a=b")}


async def test_the_context_is_gone_after_the_message():
    catga = add_catga()
    catga.add_handlers(InnerHandler, OuterHandler)

    async with catga.running() as app:
        await app.mediator.send(Outer())
        await app.mediator.send(Outer(), timeout=5)

        assert active_context.get() is None


async def test_a_function_that_sends_by_a_mediator_it_was_not_given_continues_the_conversation_too():
    catga = add_catga()
    outer_ids: list[str] = []

    async with add_catga().running():

        async def outer(message: Outer) -> list[MessageContext]:
            context = active_context.get()
            assert context is not None
            outer_ids.append(context.message_id)
            return [(await app.mediator.send(Inner())).unwrap()]

        catga.add_handlers(outer, InnerHandler)
        async with catga.running() as app:
            [inner] = (await app.mediator.send(Outer(), message_id="outer")).unwrap()
            [second] = (await app.mediator.send(Outer())).unwrap()

    assert inner.causation_id == "outer"
    assert second.causation_id == outer_ids[1]


def test_outside_of_a_message_there_is_no_current_context():
    from catga_core import current_context

    with pytest.raises(LookupError, match="outside of a message handler"):
        current_context()


async def test_current_context_is_the_message_being_handled():
    from catga_core import current_context

    async def inner(message: Inner) -> MessageContext:
        return returned(current_context())

    catga = add_catga()
    catga.add_handlers(inner)

    async with catga.running() as app:
        context = (await app.mediator.send(Inner(), message_id="7")).unwrap()
        sent_plainly = (await app.mediator.send(Inner())).unwrap()

    assert context.message_id == "7"
    assert sent_plainly.correlation_id == sent_plainly.message_id


@message(context=False)
class Plain(Command[None]):
    pass


@message(context=False)
class PlainHappened(Event):
    pass


async def test_context_false_handler_has_no_current_context():
    from catga_core import current_context

    async def plain(message: Plain) -> None:
        current_context()

    catga = add_catga()
    catga.add_handlers(plain)
    async with catga.running() as app:
        alone = (await app.mediator.send(Plain())).error
        with_options = (await app.mediator.send(Plain(), message_id="p-1", timeout=5.0)).error

    assert isinstance(alone.__cause__, LookupError)
    assert isinstance(with_options.__cause__, LookupError)
    assert "context=False" in str(alone.__cause__)


async def test_context_false_handler_begins_new_conversations():
    seen: list[MessageContext] = []

    async def outer(message: Outer, mediator: CatgaMediator, context: MessageContext) -> list[MessageContext]:
        seen.append(context)
        (await mediator.send(Plain())).unwrap()
        return []

    async def plain(message: Plain, mediator: CatgaMediator) -> None:
        await mediator.send(Inner())
        await mediator.publish(PlainHappened())

    async def inner(message: Inner, context: MessageContext) -> MessageContext:
        seen.append(context)
        return returned(context)

    async def happened(event: PlainHappened) -> None:
        seen.append(active_context.get())  # type: ignore[arg-type]

    catga = add_catga()
    catga.add_handlers(outer, plain, inner, happened)
    async with catga.running() as app:
        (await app.mediator.send(Outer())).unwrap()

    surrounding, nested, published = seen
    assert nested.correlation_id == nested.message_id != surrounding.correlation_id
    assert published is None


async def test_context_false_handler_that_asks_for_the_context_is_refused_at_start():
    async def plain(message: Plain, context: MessageContext) -> None:
        raise AssertionError

    catga = add_catga()
    catga.add_handlers(plain)

    with pytest.raises(ConfigurationError, match=r"plain .* asks for MessageContext.*context=False"):
        catga.validate()


@pytest.mark.parametrize("given", [0, None, "no"])
def test_context_option_that_is_not_a_bool_is_refused(given: Any):
    with pytest.raises(TypeError, match="context must be True or False"):
        message(context=given)(Plain)


async def test_context_that_was_not_read_has_one_identity():
    from catga_core import current_context

    async def inner(message: Inner) -> MessageContext:
        found = asyncio.create_task(asyncio.sleep(0, current_context()))
        assert await found == current_context()
        return returned(current_context())

    catga = add_catga()
    catga.add_handlers(inner)
    async with catga.running() as app:
        first = (await app.mediator.send(Inner())).unwrap()
        second = (await app.mediator.send(Inner())).unwrap()

    assert first.correlation_id == first.message_id
    assert first.message_id != second.message_id


class Decided(Event):
    number: int


class Decide(Command[None]):
    number: int


async def test_an_event_does_not_inherit_the_deadline_of_the_request_that_published_it():
    deadlines: dict[str, float | None] = {}

    async def decide(message: Decide, mediator: CatgaMediator, context: MessageContext) -> None:
        deadlines["request"] = context.deadline
        await mediator.publish(Decided(message.number))

    async def on_decided(event: Decided, context: MessageContext) -> None:
        deadlines["event"] = context.deadline

    catga = add_catga()
    catga.add_handlers(decide, on_decided)
    async with catga.running() as app:
        (await app.mediator.send(Decide(1), timeout=5.0)).unwrap()

    assert deadlines["request"] is not None
    assert deadlines["event"] is None


class ThroughHelper(Command[MessageContext]):
    pass


reachable: list[CatgaMediator] = []


async def helper() -> MessageContext:
    return (await reachable[0].send(Inner())).unwrap()


async def through_helper(message: ThroughHelper) -> MessageContext:
    return await helper()


async def inner_context(message: Inner, context: MessageContext) -> MessageContext:
    return returned(context)


async def test_a_send_by_a_mediator_that_nobody_was_given_belongs_to_the_handled_message_all_the_same():
    catga = add_catga()
    catga.add_handlers(through_helper, inner_context)
    async with catga.running() as app:
        reachable[:] = [app.mediator]
        context = (await app.mediator.send(ThroughHelper(), message_id="outer")).unwrap()

        plain = (await app.mediator.send(ThroughHelper())).unwrap()

    assert (context.causation_id, context.correlation_id) == ("outer", "outer")
    assert plain.causation_id == plain.correlation_id != plain.message_id
