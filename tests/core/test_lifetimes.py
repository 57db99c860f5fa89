from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import pytest
from dependency_injector import providers

from catga_core import Command, Lifetime, RequestHandler, add_catga

T = TypeVar("T")


class Ask(Command[int]):
    pass


class Thing:
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = type(self).made


class Left:
    def __init__(self, thing: Thing) -> None:
        self.thing = thing


class Right:
    def __init__(self, thing: Thing) -> None:
        self.thing = thing


class Pair:
    def __init__(self, left: Left, right: Right) -> None:
        self.left = left
        self.right = right


class PairHandler(RequestHandler[Ask, int]):
    pairs: list[Pair]

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    async def handle(self, message: Ask) -> int:
        self.pairs.append(self.pair)
        return self.pair.left.thing.number


@pytest.fixture(autouse=True)
def nothing_made():
    Thing.made = 0
    PairHandler.pairs = []


async def test_a_singleton_is_made_once_when_the_container_starts():
    catga = add_catga()
    catga.add_singleton(Thing)

    async with catga.running() as app:
        assert Thing.made == 1
        assert app.get(Thing) is app.get(Thing)
    assert Thing.made == 1


async def test_a_singleton_is_shared_by_all_who_need_it():
    catga = add_catga()
    catga.add_singleton(Thing)
    catga.add_singleton(Left)
    catga.add_singleton(Right)
    catga.add_singleton(Pair)

    async with catga.running() as app:
        pair = app.get(Pair)

    assert pair.left.thing is pair.right.thing


async def test_a_transient_is_made_anew_wherever_it_is_needed():
    catga = add_catga()
    catga.add_transient(Thing)
    catga.add_singleton(Left)
    catga.add_singleton(Right)
    catga.add_singleton(Pair)

    async with catga.running() as app:
        pair = app.get(Pair)
        assert app.get(Thing) is not app.get(Thing)

    assert pair.left.thing is not pair.right.thing


async def test_a_scoped_service_is_one_for_each_message():
    catga = add_catga()
    catga.add_scoped(Thing)
    catga.add_transient(Left)
    catga.add_transient(Right)
    catga.add_transient(Pair)
    catga.add_handlers(PairHandler)

    async with catga.running() as app:
        numbers = [(await app.mediator.send(Ask())).unwrap() for _ in range(2)]

    assert numbers == [1, 2]
    assert all(pair.left.thing is pair.right.thing for pair in PairHandler.pairs)
    assert PairHandler.pairs[0].left.thing is not PairHandler.pairs[1].left.thing


async def test_a_handler_that_holds_only_singletons_is_made_once():
    class Counts(RequestHandler[Ask, int]):
        made = 0

        def __init__(self, thing: Thing) -> None:
            type(self).made += 1

        async def handle(self, message: Ask) -> int:
            return self.made

    catga = add_catga()
    catga.add_singleton(Thing)
    catga.add_handlers(Counts)

    async with catga.running() as app:
        assert [(await app.mediator.send(Ask())).unwrap() for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("thing", "lifetime", "made"),
    [
        (Lifetime.TRANSIENT, None, [1, 2]),
        (Lifetime.TRANSIENT, Lifetime.SINGLETON, [1, 1]),
        (Lifetime.SINGLETON, Lifetime.TRANSIENT, [1, 2]),
        (Lifetime.SINGLETON, Lifetime.SCOPED, [1, 2]),
        (Lifetime.SCOPED, None, [1, 2]),
    ],
)
async def test_a_handler_lives_as_long_as_is_asked_for(
    thing: Lifetime, lifetime: Lifetime | None, made: list[int]
):
    class Counts(RequestHandler[Ask, int]):
        made = 0

        def __init__(self, thing: Thing) -> None:
            type(self).made += 1

        async def handle(self, message: Ask) -> int:
            return self.made

    catga = add_catga()
    {
        Lifetime.SINGLETON: catga.add_singleton,
        Lifetime.SCOPED: catga.add_scoped,
        Lifetime.TRANSIENT: catga.add_transient,
    }[thing](Thing)
    catga.add_handlers(Counts, lifetime=lifetime)

    async with catga.running() as app:
        assert [(await app.mediator.send(Ask())).unwrap() for _ in range(2)] == made


# --- ways to make a service ---


def plain() -> Thing:
    return Thing()


async def awaited() -> Thing:
    return Thing()


def yielding() -> Iterator[Thing]:
    yield Thing()


async def yielding_async() -> AsyncIterator[Thing]:
    yield Thing()


class SpecialThing(Thing):
    pass


class Factories:
    def method(self) -> Thing:
        return Thing()

    @classmethod
    def of_class(cls) -> Thing:
        return Thing()

    @staticmethod
    def static() -> Thing:
        return Thing()


@pytest.mark.parametrize(
    "implementation",
    [
        None,
        Thing,
        SpecialThing,
        Thing(),
        plain,
        awaited,
        yielding,
        yielding_async,
        lambda: Thing(),
        partial(plain),
        partial(Thing),
        Factories().method,
        Factories.of_class,
        Factories.static,
        providers.Factory(Thing),
        providers.Singleton(Thing),
        providers.Object(Thing()),
        providers.Coroutine(awaited),
    ],
)
async def test_every_way_to_make_a_singleton_gives_one(implementation: Any):
    catga = add_catga()
    catga.add_singleton(Thing, implementation)
    catga.add_singleton(Left)

    async with catga.running() as app:
        assert isinstance(app.get(Thing), Thing)
        assert app.get(Left).thing is app.get(Thing)


@pytest.mark.parametrize(
    "implementation", [Thing, plain, awaited, yielding, yielding_async, providers.Factory(Thing)]
)
async def test_every_way_to_make_a_scoped_service_gives_one_for_each_message(implementation: Any):
    async def ask(message: Ask, left: Left, right: Right) -> int:
        assert left.thing is right.thing
        return left.thing.number

    catga = add_catga()
    catga.add_scoped(Thing, implementation)
    catga.add_transient(Left)
    catga.add_transient(Right)
    catga.add_handlers(ask)

    async with catga.running() as app:
        assert [(await app.mediator.send(Ask())).unwrap() for _ in range(2)] == [1, 2]


async def test_factories_are_given_what_they_need_by_type():
    def make_left(thing: Thing) -> Left:
        return Left(thing)

    async def make_right(*, thing: Thing, left: Left) -> Right:
        assert left.thing is thing
        return Right(thing)

    catga = add_catga()
    catga.add_singleton(Thing)
    catga.add_singleton(Left, make_left)
    catga.add_singleton(Right, make_right)

    async with catga.running() as app:
        assert app.get(Right).thing is app.get(Thing)


async def test_a_partial_is_given_the_rest():
    class Client:
        def __init__(self, url: str, thing: Thing, *, retries: int) -> None:
            self.got = (url, thing, retries)

    catga = add_catga()
    catga.add_singleton(Thing)
    catga.add_singleton(Client, partial(Client, "http://a", retries=3))

    async with catga.running() as app:
        assert app.get(Client).got == ("http://a", app.get(Thing), 3)


async def test_the_last_registration_of_a_service_wins():
    catga = add_catga()
    catga.add_singleton(Thing)
    catga.add_singleton(Thing, SpecialThing)

    async with catga.running() as app:
        assert type(app.get(Thing)) is SpecialThing


async def test_a_protocol_is_asked_for_by_its_type():
    class Numbered(Protocol):
        number: int

    class NeedsNumbered:
        def __init__(self, numbered: Numbered) -> None:
            self.numbered = numbered

    catga = add_catga()
    catga.add_singleton(Numbered, Thing)
    catga.add_singleton(NeedsNumbered)

    async with catga.running() as app:
        assert app.get(NeedsNumbered).numbered is app.get(Numbered)


async def test_generic_services_are_told_apart_by_their_arguments():
    class Box(Generic[T]):
        def __init__(self, value: T) -> None:
            self.value = value

    class Needs:
        def __init__(self, numbers: Box[int], words: Box[str]) -> None:
            self.got = (numbers.value, words.value)

    numbers: Any = Box[int]
    words: Any = Box[str]
    catga = add_catga()
    catga.add_singleton(numbers, Box(1))
    catga.add_singleton(words, Box("a"))
    catga.add_singleton(Needs)

    async with catga.running() as app:
        assert app.get(Needs).got == (1, "a")


async def test_a_factory_without_a_yield_says_so():
    def empty() -> Iterator[Thing]:
        yield from ()

    catga = add_catga()
    catga.add_singleton(Thing, empty)

    with pytest.raises(RuntimeError, match=r"empty ended without a yield\. Yield the service once"):
        async with catga.running():
            pass


# --- closing singletons ---


async def test_singletons_are_closed_in_reverse_when_the_container_stops():
    log: list[str] = []

    class Pool:
        async def aclose(self) -> None:
            log.append("pool")

    class Client:
        def __init__(self, pool: Pool) -> None: ...

        def close(self) -> None:
            log.append("client")

    def yielded(client: Client) -> Iterator[Thing]:
        yield Thing()
        log.append("yielded")

    async def yielded_async(thing: Thing) -> AsyncIterator[Left]:
        yield Left(thing)
        log.append("yielded async")

    catga = add_catga()
    catga.add_singleton(Left, yielded_async)
    catga.add_singleton(Thing, yielded)
    catga.add_singleton(Client)
    catga.add_singleton(Pool)

    async with catga.running():
        assert log == []
    assert log == ["yielded async", "yielded", "client", "pool"]


async def test_an_object_that_was_given_is_closed_by_who_made_it():
    class Pool:
        closed = False

        def close(self) -> None:
            self.closed = True

    pool = Pool()
    catga = add_catga()
    catga.add_singleton(Pool, pool)

    async with catga.running():
        pass
    assert not pool.closed


async def test_an_object_with_two_names_is_closed_once():
    class Pool:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    class Closable(Protocol):
        def close(self) -> None: ...

    def same(pool: Pool) -> Closable:
        return pool

    catga = add_catga()
    catga.add_singleton(Pool)
    catga.add_singleton(Closable, same)

    async with catga.running() as app:
        pool = app.get(Pool)
        assert app.get(Closable) is pool
    assert pool.closed == 1


async def test_a_second_run_has_singletons_of_its_own():
    catga = add_catga()
    catga.add_singleton(Thing)

    async with catga.running() as app:
        first = app.get(Thing)
    async with catga.running() as app:
        second = app.get(Thing)

    assert first is not second


# --- factories that contextlib has decorated ---


class Handle:
    def __init__(self, log: list[str]) -> None:
        self.log = log


@contextlib.contextmanager
def handle_manager(log: Log) -> Iterator[Handle]:
    try:
        yield Handle(log.lines)
        log.lines.append("committed")
    except ValueError:
        log.lines.append("rolled back")
        raise


@contextlib.asynccontextmanager
async def async_handle_manager(log: Log) -> AsyncIterator[Handle]:
    try:
        yield Handle(log.lines)
        log.lines.append("committed")
    except ValueError:
        log.lines.append("rolled back")
        raise


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []


class Handles:
    """Makes them by a method."""

    @contextlib.asynccontextmanager
    async def open(self, log: Log) -> AsyncIterator[Handle]:
        yield Handle(log.lines)
        log.lines.append("committed")


class UseHandle(Command[str]):
    fails: bool = False


async def use_handle(message: UseHandle, handle: Handle) -> str:
    handle.log.append("used")
    if message.fails:
        raise ValueError
    return ""


@pytest.mark.parametrize(
    "factory",
    [handle_manager, async_handle_manager, Handles().open, partial(async_handle_manager)],
)
async def test_a_context_manager_of_contextlib_is_entered_and_left_with_each_message(factory: Any):
    catga = add_catga()
    catga.add_singleton(Log)
    catga.add_scoped(Handle, factory)
    catga.add_handlers(use_handle)

    async with catga.running() as app:
        (await app.mediator.send(UseHandle())).unwrap()

        assert app.get(Log).lines == ["used", "committed"]


@pytest.mark.parametrize("factory", [handle_manager, async_handle_manager])
async def test_a_context_manager_of_contextlib_sees_the_messages_exception(factory: Any):
    catga = add_catga()
    catga.add_singleton(Log)
    catga.add_scoped(Handle, factory)
    catga.add_handlers(use_handle)

    async with catga.running() as app:
        assert not (await app.mediator.send(UseHandle(fails=True))).is_success

        assert app.get(Log).lines == ["used", "rolled back"]


@pytest.mark.parametrize("factory", [handle_manager, async_handle_manager])
async def test_a_singletons_context_manager_of_contextlib_is_left_with_the_container(factory: Any):
    catga = add_catga()
    catga.add_singleton(Log)
    catga.add_singleton(Handle, factory)
    catga.add_handlers(use_handle)

    async with catga.running() as app:
        log = app.get(Log).lines
        (await app.mediator.send(UseHandle())).unwrap()

    assert log == ["used", "committed"]
