"""However the `handle` of a behavior is written, it gets the message and the rest of its own pipeline."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from catga_core import Behavior, CatgaResult, Command, Next, Success, add_catga


class Trace(Command[list[str]], frozen=True):
    seen: tuple[str, ...] = ()


class Other(Command[list[str]], frozen=True):
    seen: tuple[str, ...] = ()


async def trace(message: Trace) -> list[str]:
    return list(message.seen)


async def other(message: Other) -> list[str]:
    return [*message.seen, "other"]


def seen(message: Any, name: str) -> Any:
    return type(message)((*message.seen, name))


class Plain(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(seen(message, "plain"))


class OtherNames(Behavior[Any, Any]):
    async def handle(self, sent: Any, go_on: Next[Any, Any]) -> CatgaResult[Any]:
        return await go_on(seen(sent, "names"))


class Inherits(Plain):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await super().handle(seen(message, "inherits"), next)


class HasDefault(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any], word: str = "default") -> CatgaResult[Any]:
        return await next(seen(message, word))


class HasKeyword(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any], *, word: str = "keyword") -> CatgaResult[Any]:
        return await next(seen(message, word))


class TakesAll(Behavior[Any, Any]):
    async def handle(self, *given: Any) -> CatgaResult[Any]:
        message, next = given
        result: CatgaResult[Any] = await next(seen(message, "all"))
        return result


class TakesMore(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any], *more: Any) -> CatgaResult[Any]:
        assert not more
        return await next(seen(message, "more"))


class IsStatic(Behavior[Any, Any]):
    @staticmethod
    async def handle(message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(seen(message, "static"))


class IsOfTheClass(Behavior[Any, Any]):
    @classmethod
    async def handle(cls, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(seen(message, "class"))


def decorated(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    async def wrapper(self: Any, message: Any, next: Any) -> Any:
        return await handle(self, seen(message, "wrapper"), next)

    return wrapper


class IsDecorated(Behavior[Any, Any]):
    @decorated
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(seen(message, "decorated"))


class AsksTwice(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        await next(seen(message, "first"))
        return await next(seen(message, "again"))


_SHAPES: list[tuple[type[Behavior[Any, Any]], list[str]]] = [
    (Plain, ["plain"]),
    (OtherNames, ["names"]),
    (Inherits, ["inherits", "plain"]),
    (HasDefault, ["default"]),
    (HasKeyword, ["keyword"]),
    (TakesAll, ["all"]),
    (TakesMore, ["more"]),
    (IsStatic, ["static"]),
    (IsOfTheClass, ["class"]),
    (IsDecorated, ["wrapper", "decorated"]),
    (AsksTwice, ["again"]),
]


class Outermost(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(seen(message, "outermost"))


class Innermost(Behavior[Any, Any]):
    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        return await next(seen(message, "innermost"))


@pytest.mark.parametrize(("behavior", "told"), _SHAPES, ids=lambda each: getattr(each, "__name__", ""))
async def test_a_behavior_between_two_others_gets_the_rest_of_its_own_pipeline(
    behavior: type[Behavior[Any, Any]], told: list[str]
) -> None:
    catga = add_catga()
    catga.add_handlers(trace, other)
    for each in (Outermost, behavior, Innermost):
        catga.add_behavior(each)
    async with catga.running() as app:
        # Two pipelines have one behavior, and each goes on in itself.
        assert await app.mediator.send(Trace()) == Success(["outermost", *told, "innermost"])
        assert await app.mediator.send(Other()) == Success(["outermost", *told, "innermost", "other"])
        assert await app.mediator.send(Trace()) == Success(["outermost", *told, "innermost"])
