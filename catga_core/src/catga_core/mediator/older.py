"""Send a request of an older version to the handler of a newer one in this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from catga_core.errors import CatgaError
from catga_core.messages.message_context import MessageContext
from catga_core.messages.older import Conversion
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import Dispatch


class OlderRequest:
    """The way of a request of an older version through its upcasters.

    Args:
        way: Converts the request and its result.
        dispatch: Handles the newer version.
    """

    def __init__(self, way: Conversion, dispatch: Dispatch) -> None:
        self._way = way
        self._dispatch = dispatch

    async def send(self, request: Any) -> CatgaResult[Any]:
        """Send a request in a context that continues the caller's."""
        return await self._by(self._dispatch.send, request)

    async def handle(self, request: Any, context: MessageContext) -> CatgaResult[Any]:
        """Send a request in a context that is given."""
        return await self._by(lambda newer: self._dispatch.handle(newer, context), request)

    async def _by(self, send: Callable[[Any], Awaitable[CatgaResult[Any]]], request: Any) -> CatgaResult[Any]:
        try:
            newer = self._way.message(request)
        except CatgaError as error:
            return Failure(error)
        return self._way.result(await send(newer))
