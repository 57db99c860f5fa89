from __future__ import annotations

import time

import pytest

from catga_core import (
    CatgaMediator,
    Command,
    Event,
    EventHandler,
    MessageContext,
    Query,
    RequestHandler,
    add_catga,
)
from catga_core.messages.context import active_context
from tests.core.support import run_program


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
        return self.context


class OuterHandler(RequestHandler[Outer, list[MessageContext]]):
    def __init__(self, context: MessageContext, mediator: CatgaMediator) -> None:
        self.context = context
        self.mediator = mediator

    async def handle(self, message: Outer) -> list[MessageContext]:
        if message.timeout is None:
            inner = await self.mediator.send(Inner())
        else:
            inner = await self.mediator.send(Inner(), timeout=message.timeout)
        return [self.context, inner.unwrap()]


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
        return [self.context]


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

    with pytest.raises(LookupError, match="where no message is being handled"):
        current_context()


async def test_current_context_is_the_message_being_handled():
    from catga_core import current_context

    async def inner(message: Inner) -> MessageContext:
        return current_context()

    catga = add_catga()
    catga.add_handlers(inner)

    async with catga.running() as app:
        context = (await app.mediator.send(Inner(), message_id="7")).unwrap()
        sent_plainly = (await app.mediator.send(Inner())).unwrap()

    assert context.message_id == "7"
    assert sent_plainly.correlation_id == sent_plainly.message_id


def test_naming_the_current_context_while_a_container_runs_switches_its_pipelines_over():
    program = """
        import asyncio
        from catga_core import Command, Event, add_catga
        from catga_core.messages.context import active_context, context_demand

        class Ask(Command[bool]):
            pass

        class Happened(Event):
            pass

        seen = []

        async def ask(message: Ask) -> bool:
            return active_context.get() is not None

        async def see(message: Happened) -> None:
            seen.append(active_context.get() is not None)

        async def main():
            catga = add_catga()
            catga.add_handlers(ask, see)
            async with catga.running() as app:
                sender = app.mediator.sender(Ask)
                async def look():
                    await app.mediator.publish(Happened())
                    return (await app.mediator.send(Ask())).value, (await sender(Ask())).value, seen.pop()

                before = await look()
                from catga_core import current_context
                after = await look()
                assert before == (False, False, False), before
                assert after == (True, True, True), after

        asyncio.run(main())
    """

    run_program(program)


def test_importing_catga_does_not_name_the_current_context():
    run_program("""
        import catga_core, catga_core.mediator, catga_core.container, catga_core.memory
        from catga_core.messages.context import context_demand
        assert not context_demand.wanted
    """)


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
    return context


async def test_a_send_by_a_mediator_that_nobody_was_given_belongs_to_the_handled_message_all_the_same():
    catga = add_catga()
    catga.add_handlers(through_helper, inner_context)
    async with catga.running() as app:
        reachable[:] = [app.mediator]
        context = (await app.mediator.send(ThroughHelper(), message_id="outer")).unwrap()

        plain = (await app.mediator.send(ThroughHelper())).unwrap()

    assert (context.causation_id, context.correlation_id) == ("outer", "outer")
    assert plain.causation_id == plain.correlation_id != plain.message_id
