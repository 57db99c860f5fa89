from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from catga_core import (
    Behavior,
    CatgaError,
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    Lifetime,
    MessageContext,
    MessageType,
    Next,
    Query,
    RequestHandler,
    Stage,
    StreamQuery,
    Success,
    add_catga,
)
from catga_core.messages.context import active_context


class Save(Command[str]):
    text: str = "a"


class Delete(Command[None]):
    pass


class Find(Query[str]):
    pass


class Saved(Event):
    pass


class Count(StreamQuery[int]):
    pass


class SaveHandler(RequestHandler[Save, str]):
    async def handle(self, message: Save) -> str:
        return message.text


async def delete(message: Delete) -> None:
    return None


async def find(message: Find) -> str:
    return "found"


class Notes(Behavior[Any, Any]):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        self.log.append(f"{self.name} in")
        result = await next(message)
        self.log.append(f"{self.name} out")
        return result


@pytest.fixture
def seen() -> list[str]:
    return []


# --- order ---


async def test_behaviors_of_one_order_surround_the_handler_as_they_were_registered(seen: list[str]):
    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Notes("first", seen))
    catga.add_behavior(Notes("second", seen))

    async with catga.running() as app:
        await app.mediator.send(Save())

    assert seen == ["first in", "second in", "second out", "first out"]


async def test_a_lower_order_is_further_outside(seen: list[str]):
    class Inner(Notes):
        order = 50

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Inner("class says 50", seen))
    catga.add_behavior(Notes("0", seen))
    catga.add_behavior(Inner("-7", seen), order=-7)

    async with catga.running() as app:
        await app.mediator.send(Save())

    assert seen[:3] == ["-7 in", "0 in", "class says 50 in"]


async def test_behavior_of_an_outer_stage_runs_outside_whatever_its_order(seen: list[str]):
    class Logs(Notes):
        stage = Stage.LOG
        order = 1_000

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Notes("user", seen), order=-1_000)
    catga.add_behavior(Notes("metrics", seen), stage=Stage.METRICS)
    catga.add_behavior(Logs("log", seen))

    async with catga.running() as app:
        await app.mediator.send(Save())

    assert seen[:3] == ["log in", "metrics in", "user in"]


@pytest.mark.parametrize("stage", [Stage.HANDLER, 3, "LOG"])
def test_behavior_at_an_impossible_stage_is_refused(stage: Any):
    with pytest.raises(ConfigurationError, match=r"must be one of Stage\.TRACE"):
        add_catga().add_behavior(OnSave, stage=stage)


# --- for whom ---


class OnSave(Behavior[Save, str]):
    async def handle(self, message: Save, next: Next[Save, str]) -> CatgaResult[str]:
        return (await next(message)).map(lambda text: f"saved {text}")


class OnCommands(Behavior[Command[Any], Any]):
    seen: list[str]

    async def handle(self, message: Command[Any], next: Next[Command[Any], Any]) -> CatgaResult[Any]:
        self.seen.append(type(message).__name__)
        return await next(message)


async def test_a_behavior_for_one_message_is_only_around_that_one():
    catga = add_catga()
    catga.add_handlers(SaveHandler, find)
    catga.add_behavior(OnSave)

    async with catga.running() as app:
        assert await app.mediator.send(Save()) == Success("saved a")
        assert await app.mediator.send(Find()) == Success("found")


async def test_a_behavior_for_a_base_is_around_all_below_it(seen: list[str]):
    OnCommands.seen = seen
    catga = add_catga()
    catga.add_handlers(SaveHandler, delete, find)
    catga.add_behavior(OnCommands)

    async with catga.running() as app:
        await app.mediator.send(Save())
        await app.mediator.send(Find())
        await app.mediator.send(Delete())

    assert seen == ["Save", "Delete"]


async def test_when_is_asked_once_for_each_message_type(seen: list[str]):
    asked: list[str] = []

    def is_query(described: MessageType) -> bool:
        asked.append(described.name)
        return described.kind == "query"

    catga = add_catga()
    catga.add_handlers(SaveHandler, find)
    catga.add_behavior(Notes("query", seen), when=is_query)

    async with catga.running() as app:
        for _ in range(3):
            await app.mediator.send(Save())
            await app.mediator.send(Find())

    assert seen == ["query in", "query out"] * 3
    assert sorted(asked) == ["Find", "Save"]


# --- what a behavior may do ---


async def test_a_behavior_may_answer_itself(seen: list[str]):
    class Cached(Behavior[Find, str]):
        async def handle(self, message: Find, next: Next[Find, str]) -> CatgaResult[str]:
            return Success("from the cache")

    async def never(message: Find) -> str:
        seen.append("handled")
        return "found"

    catga = add_catga()
    catga.add_handlers(never)
    catga.add_behavior(Cached)

    async with catga.running() as app:
        assert await app.mediator.send(Find()) == Success("from the cache")
    assert seen == []


async def test_a_behavior_may_refuse():
    class Guards(Behavior[Save, str]):
        async def handle(self, message: Save, next: Next[Save, str]) -> CatgaResult[str]:
            return CatgaResult.failure(code="FORBIDDEN")

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Guards)

    async with catga.running() as app:
        assert (await app.mediator.send(Save())).error.code == "FORBIDDEN"


async def test_a_behavior_may_pass_another_message_on():
    class Trims(Behavior[Save, str]):
        async def handle(self, message: Save, next: Next[Save, str]) -> CatgaResult[str]:
            return await next(Save(message.text.strip()))

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Trims)

    async with catga.running() as app:
        assert await app.mediator.send(Save("  b ")) == Success("b")


async def test_a_behavior_may_try_again():
    tries: list[int] = []

    class Retries(Behavior[Find, str]):
        async def handle(self, message: Find, next: Next[Find, str]) -> CatgaResult[str]:
            result = await next(message)
            while not result.is_success and result.error.retryable:
                result = await next(message)
            return result

    async def flaky(message: Find) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise CatgaError("busy", code="LOCKED")
        return "found"

    catga = add_catga()
    catga.add_handlers(flaky)
    catga.add_behavior(Retries)

    async with catga.running() as app:
        assert await app.mediator.send(Find()) == Success("found")
    assert len(tries) == 3


async def test_next_gives_what_the_handler_raises_as_a_failed_result(seen: list[str]):
    class Watches(Behavior[Find, str]):
        async def handle(self, message: Find, next: Next[Find, str]) -> CatgaResult[str]:
            result = await next(message)
            seen.append(result.error.message)
            return result

    async def breaks(message: Find) -> str:
        raise ValueError("broken")

    catga = add_catga()
    catga.add_handlers(breaks)
    catga.add_behavior(Watches)

    async with catga.running() as app:
        assert not (await app.mediator.send(Find())).is_success
    assert seen == ["breaks failed: broken"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("others", [0, 1, 2])
async def test_a_behavior_that_raises_fails_the_message_under_its_own_name(
    after: bool, others: int, seen: list[str]
):
    class Breaks(Behavior[Save, str]):
        async def handle(self, message: Save, next: Next[Save, str]) -> CatgaResult[str]:
            if after:
                await next(message)
            raise ValueError("broken")

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    for number in range(others):
        catga.add_behavior(Notes(str(number), seen))
    catga.add_behavior(Breaks)

    async with catga.running() as app:
        error = (await app.mediator.send(Save())).error

    assert (error.code, error.message) == ("HANDLER_FAILED", "Breaks failed: broken")


async def test_cancellation_passes_through_behaviors(seen: list[str]):
    reached = asyncio.Event()

    async def wait(message: Find) -> str:
        reached.set()
        await asyncio.Event().wait()
        return ""

    class Cleans(Behavior[Any, Any]):
        async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
            try:
                return await next(message)
            except asyncio.CancelledError:
                seen.append("cleaned")
                raise

    catga = add_catga()
    catga.add_handlers(wait)
    catga.add_behavior(Cleans)
    catga.add_behavior(Notes("inner", []))

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Find()))
        await reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert seen == ["cleaned"]


# --- services and lifetimes ---


class Session:
    pass


class TakesSession(Behavior[Any, Any]):
    seen: list[Session]

    def __init__(self, session: Session) -> None:
        self.session = session

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        self.seen.append(self.session)
        return await next(message)


async def test_a_behavior_takes_the_messages_scoped_services():
    TakesSession.seen = []

    async def save(message: Save, session: Session) -> str:
        assert TakesSession.seen[-1] is session
        return message.text

    catga = add_catga()
    catga.add_scoped(Session)
    catga.add_handlers(save)
    catga.add_behavior(TakesSession)

    async with catga.running() as app:
        assert [(await app.mediator.send(Save())).is_success for _ in range(2)] == [True, True]

    assert TakesSession.seen[0] is not TakesSession.seen[1]


@pytest.mark.parametrize(("lifetime", "made"), [(None, 1), (Lifetime.TRANSIENT, 2), (Lifetime.SCOPED, 2)])
async def test_a_behavior_lives_as_long_as_is_asked_for(lifetime: Lifetime | None, made: int):
    class Counts(Behavior[Any, Any]):
        made = 0

        def __init__(self) -> None:
            type(self).made += 1

        async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
            return await next(message)

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Counts, lifetime=lifetime)

    async with catga.running() as app:
        await app.mediator.send(Save())
        await app.mediator.send(Save())

    assert Counts.made == made


# --- context ---


async def test_a_behavior_that_takes_the_context_sees_the_messages():
    class Sees(Behavior[Any, Any]):
        def __init__(self, context: MessageContext) -> None:
            self.context = context

        async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
            result = await next(message)
            return result.map(lambda text: f"{text} {self.context.message_id}")

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Sees)

    async with catga.running() as app:
        assert await app.mediator.send(Save(), message_id="7") == Success("a 7")


async def test_a_behavior_that_says_it_uses_the_context_has_one(seen: list[str]):
    class Sees(Behavior[Any, Any]):
        uses_context = True

        async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
            context = active_context.get()
            assert context is not None
            seen.append(context.message_id)
            return await next(message)

    catga = add_catga()
    catga.add_handlers(SaveHandler)
    catga.add_behavior(Sees)

    async with catga.running() as app:
        assert (await app.mediator.send(Save())).is_success
    assert len(seen) == 1


# --- events and streams ---


async def test_a_behavior_surrounds_each_event_handler(seen: list[str]):
    async def one(message: Saved) -> None:
        seen.append("one")

    async def two(message: Saved) -> None:
        seen.append("two")

    catga = add_catga()
    catga.add_handlers(one, two)
    catga.add_behavior(Notes("b", seen))

    async with catga.running() as app:
        await app.mediator.publish(Saved())

    assert seen == ["b in", "one", "b out", "b in", "two", "b out"]


async def test_a_behavior_that_answers_keeps_the_event_from_its_handler(seen: list[str]):
    class Swallows(Behavior[Saved, None]):
        async def handle(self, message: Saved, next: Next[Saved, None]) -> CatgaResult[None]:
            return Success(None)

    async def one(message: Saved) -> None:
        seen.append("one")

    catga = add_catga()
    catga.add_handlers(one)
    catga.add_behavior(Swallows)

    async with catga.running() as app:
        await app.mediator.publish(Saved())

    assert seen == []


async def test_a_behavior_surrounds_the_opening_of_a_stream(seen: list[str]):
    async def count(message: Count) -> AsyncIterator[int]:
        seen.append("begun")
        yield 1

    catga = add_catga()
    catga.add_handlers(count)
    catga.add_behavior(Notes("b", seen))

    async with catga.running() as app:
        assert [number async for number in app.mediator.stream(Count())] == [1]

    assert seen == ["b in", "b out", "begun"]


async def test_a_behavior_may_refuse_a_stream_or_change_its_items():
    class Doubles(Behavior[Count, Any]):
        async def handle(self, message: Count, next: Next[Count, Any]) -> CatgaResult[Any]:
            async def doubled(items: AsyncIterator[int]) -> AsyncIterator[int]:
                async for item in items:
                    yield 2 * item

            return (await next(message)).map(doubled)

    class Refuses(Behavior[Count, Any]):
        async def handle(self, message: Count, next: Next[Count, Any]) -> CatgaResult[Any]:
            return CatgaResult.failure(code="FORBIDDEN")

    async def count(message: Count) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    doubling, refusing = add_catga(), add_catga()
    for catga, behavior in ((doubling, Doubles), (refusing, Refuses)):
        catga.add_handlers(count)
        catga.add_behavior(behavior)

    async with doubling.running() as app:
        assert [number async for number in app.mediator.stream(Count())] == [0, 2, 4]
    async with refusing.running() as app:
        with pytest.raises(CatgaError, match="FORBIDDEN"):
            await anext(app.mediator.stream(Count()))
