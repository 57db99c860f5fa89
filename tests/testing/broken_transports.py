"""Transports that break one promise each, for the tests of the contract kit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from catga_core import CatgaError, ErrorCode, Failure, MessageContext, TransportCapabilities
from catga_core.memory import LocalBus, LocalTransport
from catga_core.messages.message_context import NO_HEADERS


class Twice(LocalTransport):
    """Has a request handled by two replicas."""

    async def request(self, message_type: Any, message: Any, context: MessageContext, /) -> Any:
        await super().request(message_type, message, context)
        return await super().request(message_type, message, context)


class Silent(LocalTransport):
    """Lets a sender wait to its deadline when nobody handles its request."""

    async def request(self, message_type: Any, message: Any, context: MessageContext, /) -> Any:
        if self.bus.handler_of(message_type.cls) is None:
            await asyncio.sleep(max(0.0, (context.deadline or 0) - self._clock.time()))
            return Failure(CatgaError("no answer", code=ErrorCode.TIMEOUT))
        return await super().request(message_type, message, context)


class Forgetful(LocalTransport):
    """Loses the headers."""

    async def request(self, message_type: Any, message: Any, context: MessageContext, /) -> Any:
        return await super().request(message_type, message, _without_headers(context))

    async def publish(self, message_type: Any, event: Any, context: MessageContext, /) -> None:
        await super().publish(message_type, event, _without_headers(context))


class Hasty(LocalTransport):
    """Cancels what runs instead of finishing it."""

    async def drain(self, timeout: float, /) -> None:
        await super().drain(0.0)


class Attached(LocalTransport):
    """Cancels the handler with its sender."""

    async def request(self, message_type: Any, message: Any, context: MessageContext, /) -> Any:
        listener = self.bus.handler_of(message_type.cls)
        if listener is None:
            return await super().request(message_type, message, context)
        return await listener.endpoint.handle(message, context)


class Eager(LocalTransport):
    """Yields the items of a stream when it has all of them."""

    async def stream(
        self, message_type: Any, query: Any, context: MessageContext, /
    ) -> AsyncGenerator[Any, None]:
        for item in [item async for item in super().stream(message_type, query, context)]:
            yield item


class Clinging(LocalTransport):
    """Lets a handler go on whose items are not wanted any more."""

    async def stream(
        self, message_type: Any, query: Any, context: MessageContext, /
    ) -> AsyncGenerator[Any, None]:
        items = super().stream(message_type, query, context)
        kept.append(items)
        async for item in items:
            yield item


kept: list[Any] = []


class Optimistic(LocalTransport):
    """Calls itself healthy whatever it is."""

    def health(self) -> Any:
        connected = LocalTransport(LocalBus())
        connected._connected = True
        return connected.health()


class Boastful(LocalTransport):
    """Claims to leave the process, and so is tested for all that goes with it."""

    @property
    def capabilities(self) -> TransportCapabilities:
        return TransportCapabilities(remote=True, zero_copy=True)


def _without_headers(context: MessageContext) -> MessageContext:
    return msgspec.structs.replace(context, headers=NO_HEADERS)
