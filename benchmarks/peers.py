"""What other mediators for Python cost, beside the same hand-written awaits as ours; each row only where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.dispatch import slice_of
from benchmarks.measure import Row, paired, table
from benchmarks.subjects import (
    Bare,
    BareHandler,
    Counter,
    CountOne,
    CountThree,
    CountTwo,
    Happened,
    OrderResult,
    Surrounded,
    SurroundedHandler,
    by_hand,
    nested_by_hand,
    published_by_hand,
)

_COUNT = 1_000


def _mediatr() -> list[tuple[str, Callable[[Any], Awaitable[Any]], str]]:
    from mediatr import Mediator

    mediator = Mediator()

    class PlainHandler:
        async def handle(self, request: Bare) -> OrderResult:
            return OrderResult(request.order_id)

    class WrappedHandler:
        async def handle(self, request: Surrounded) -> OrderResult:
            return OrderResult(request.order_id)

    # mediatr reads annotations as they stand, and here they are postponed.
    PlainHandler.handle.__annotations__["request"] = Bare
    WrappedHandler.handle.__annotations__["request"] = Surrounded
    Mediator.register_handler(PlainHandler)
    Mediator.register_handler(WrappedHandler)

    def behavior() -> type[Any]:
        class Passing:
            async def handle(self, request: Surrounded, next: Callable[[], Awaitable[Any]]) -> Any:
                return await next()

        Passing.handle.__annotations__["request"] = Surrounded
        return Passing

    for _ in range(3):
        Mediator.register_behavior(behavior())
    return [("mediatr", mediator.send_async, "send"), ("mediatr", mediator.send_async, "behaviors")]


def _mediatorx() -> list[tuple[str, Callable[[Any], Awaitable[Any]], str]]:
    from mediatorx import DictResolver, Mediator

    class Passing:
        async def handle(self, message: Any, next: Callable[[], Awaitable[Any]]) -> Any:
            return await next()

    class Passing2(Passing):
        pass

    class Passing3(Passing):
        pass

    counter = Counter()
    resolver = DictResolver()
    bare = Mediator(resolver)
    bare.register(Bare, BareHandler)
    surrounded = Mediator(resolver)
    surrounded.register(Surrounded, SurroundedHandler)
    for each in (Passing, Passing2, Passing3):
        surrounded.add_behavior(each, object)
    publisher = Mediator(
        _Made({CountOne: CountOne(counter), CountTwo: CountTwo(counter), CountThree: CountThree(counter)})
    )
    for handler in (CountOne, CountTwo, CountThree):
        publisher.register_notification(Happened, handler)
    return [
        ("mediatorx", bare.send, "send"),
        ("mediatorx", surrounded.send, "behaviors"),
        ("mediatorx", publisher.publish, "publish"),
    ]


class _Made:
    """A resolver of objects that are there already: the quickest that mediatorx can be given."""

    def __init__(self, objects: dict[type[Any], Any]) -> None:
        self._objects = objects

    def resolve(self, cls: type[Any]) -> Any:
        return self._objects[cls]


def _python_cqrs() -> list[tuple[str, Callable[[Any], Awaitable[Any]], str]]:
    from cqrs import Request, RequestHandler, RequestMap, RequestMediator, Response

    class Answer(Response):
        order_id: int

    class Ask(Request):
        order_id: int

    class Handler(RequestHandler[Ask, Answer]):
        @property
        def events(self) -> list[Any]:
            return []

        async def handle(self, request: Ask) -> Answer:
            return Answer(order_id=request.order_id)

    class Container:
        external_container = None

        def attach_external_container(self, container: Any) -> None:
            self.external_container = container

        async def resolve(self, type_: Any) -> Any:
            return type_()

    requests = RequestMap()
    requests.bind(Ask, Handler)
    mediator = RequestMediator(request_map=requests, container=Container())
    ask = Ask(order_id=1)

    async def send(_message: Any) -> Any:
        return await mediator.send(ask)

    return [("python-cqrs", send, "send")]


async def run(rounds: int = 15) -> list[Row]:
    """Measure every peer that is installed.

    Args:
        rounds: Paired slices for each row.
    """
    counter = Counter()
    limits: dict[str, tuple[str, Any, Any]] = {
        "send": ("send / hand-written try and wrap", by_hand(BareHandler()), Bare(1)),
        "behaviors": (
            "send through 3 behaviors / 3 nested awaits",
            nested_by_hand(by_hand(SurroundedHandler())),
            Surrounded(1),
        ),
        "publish": (
            "publish to 3 / 3 awaits in try",
            published_by_hand((CountOne(counter), CountTwo(counter), CountThree(counter))),
            Happened(1),
        ),
    }
    rows: list[Row] = []
    for load in (_mediatorx, _mediatr, _python_cqrs):
        try:
            found = load()
        except ImportError:
            continue
        for peer, call, kind in found:
            title, limit, message = limits[kind]
            ratio, ours, theirs = await paired(
                slice_of(call, message, _COUNT), slice_of(limit, message, _COUNT), rounds=rounds
            )
            rows.append(Row(f"{peer}: {title}", 1 / ratio, ours / _COUNT * 1e9, theirs / _COUNT * 1e9, "ns"))
    return rows


if __name__ == "__main__":
    print(table(asyncio.run(run())))
