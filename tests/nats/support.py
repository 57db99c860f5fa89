"""Messages, endpoints and running transports for the tests of the NATS transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from catga_core.clock import SystemClock
from catga_core.interfaces import HandlerEndpoint, Inbound, MessageContext
from catga_core.messages import Command, Event, Message, StreamQuery, message, message_type
from catga_core.messages.context import begin_context
from catga_core.messages.results import CatgaResult, Success
from catga_core.messages.serialization import msgpack_serializer
from catga_nats import NatsOptions, NatsTransport


class Sum(msgspec.Struct, frozen=True):
    total: int


class Add(Command[Sum], frozen=True):
    left: int
    right: int


class Slow(Command[Sum], frozen=True):
    number: int


class Nothing(Command[None], frozen=True):
    pass


class Blob(Command[bytes], frozen=True):
    data: bytes
    answer_size: int = 0


class Numbers(StreamQuery[int], frozen=True):
    last: int
    pause_after: int = 0


class Blobs(StreamQuery[bytes], frozen=True):
    count: int
    size: int


class Happened(Event, frozen=True):
    number: int


@message(name="Add", version=2)
class AddOfTomorrow(Command[Sum], frozen=True):
    left: int
    right: int


Handle = Callable[[Any, MessageContext], Awaitable[Any]]


class Endpoint:
    """Handles one type of message with a function, as the container's endpoints do."""

    def __init__(self, cls: type[Message], handle: Handle) -> None:
        self.message_type = message_type(cls)
        self._handle = handle

    @property
    def handler(self) -> str:
        return "handler"

    @property
    def handlers(self) -> Sequence[HandlerEndpoint]:
        return [self]

    async def handle(self, message: Any, context: MessageContext, /) -> Any:
        return await self._handle(message, context)


class Counting:
    """Answers `Numbers`: waits for `open` after `pause_after` of them, and keeps how each stream has ended."""

    def __init__(self) -> None:
        self.yielded = 0
        self.ended: list[str] = []
        self.open = asyncio.Event()
        self.message_type = message_type(Numbers)

    async def stream(self, query: Numbers, context: MessageContext, /) -> AsyncGenerator[int, None]:
        how = "finished"
        try:
            for number in range(1, query.last + 1):
                self.yielded = number
                yield number
                if number == query.pause_after:
                    await self.open.wait()
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            self.ended.append(how)


class Flooding:
    """Answers `Blobs`, and counts what it has yielded."""

    def __init__(self) -> None:
        self.yielded = 0
        self.message_type = message_type(Blobs)

    async def stream(self, query: Blobs, context: MessageContext, /) -> AsyncGenerator[bytes, None]:
        for _ in range(query.count):
            self.yielded += 1
            yield bytes(query.size)


async def add(message: Add, context: MessageContext) -> CatgaResult[Sum]:
    return Success(Sum(message.left + message.right))


def adder() -> Endpoint:
    return Endpoint(Add, add)


class Gate:
    """A handler that waits until it is let go, and tells how many wait."""

    def __init__(self) -> None:
        self.entered = 0
        self.left = 0
        self.open = asyncio.Event()

    async def __call__(self, message: Any, context: MessageContext) -> CatgaResult[Sum]:
        self.entered += 1
        await self.open.wait()
        self.left += 1
        return Success(Sum(self.entered))


def transport(servers: str, clock: Any = None, **options: Any) -> NatsTransport:
    return NatsTransport(NatsOptions(servers, **options), msgpack_serializer(), clock or SystemClock())


@asynccontextmanager
async def running(
    servers: str,
    *endpoints: Endpoint,
    events: tuple[Endpoint, ...] = (),
    streams: tuple[Any, ...] = (),
    service: str = "tests",
    limit: int = 100,
    **options: Any,
) -> AsyncIterator[NatsTransport]:
    """A transport from its connection to its end."""
    made = transport(servers, **options)
    await made.connect()
    try:
        if endpoints or events or streams:
            await made.serve(Inbound(service, endpoints, events, limit, streams))
        yield made
        await made.drain(2.0)
    finally:
        await made.close()


async def send(
    sender: NatsTransport, message: Any, *, timeout: float | None = 5.0, **headers: str
) -> CatgaResult[Any]:
    context = begin_context(
        deadline=None if timeout is None else time.time() + timeout, headers=headers or None
    )
    return await sender.request(message_type(type(message)), message, context)


def stream(sender: NatsTransport, query: Any, *, timeout: float | None = 20.0) -> AsyncGenerator[Any, None]:
    context = begin_context(deadline=None if timeout is None else time.time() + timeout)
    return sender.stream(message_type(type(query)), query, context)


async def publish(sender: NatsTransport, event: Any, *, deadline: float | None = None) -> None:
    await sender.publish(message_type(type(event)), event, begin_context(deadline=deadline))


def count(made: NatsTransport, name: str) -> int:
    number = made.health().details[name]
    assert isinstance(number, int)
    return number
