"""What arrives: decoded, limited, handled, and answered whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from catga_core import CatgaError, CatgaResult, Clock, ErrorCode, Failure
from catga_core.interfaces import EventEndpoint, RequestEndpoint
from catga_core.log import MESSAGE_REFUSED, logger
from catga_core.messages.serialization import EnvelopeCodec
from catga_core.runtime import Intake, being_cancelled, passes_through

from .frames import MAX_BODY
from .wire import failed

Respond = Callable[[bytes], None]


class Requests:
    """Handles one type of request.

    Args:
        endpoint: What handles it.
        codec: Makes bytes into messages and back.
        clock: What deadlines are compared with.
        limit: How many at the same time.
    """

    def __init__(self, endpoint: RequestEndpoint, codec: EnvelopeCodec, clock: Clock, limit: int) -> None:
        self.subject = f"request.{endpoint.message_type.name}"
        self.group = ""  # all processes that handle it are replicas of one another
        self._endpoint = endpoint
        self._codec = codec
        self._clock = clock
        self._intake = Intake(limit)

    def take(self, body: bytes, respond: Respond) -> None:
        """Start handling one request, or answer why not."""
        described = self._endpoint.message_type
        if self._intake.full:
            text = f"{self._intake.limit} {described} are being handled already: try again later"
            refused = failed(text, "not_started", ErrorCode.CONCURRENCY_LIMITED)
            respond(self._codec.encode_result(Failure(refused)))
            return
        self._intake.spawn(self._handle(body, respond))

    async def drain(self, timeout: float) -> None:
        """Finish what runs; what is cancelled after so many seconds is answered all the same."""
        await self._intake.drain(timeout)

    async def _handle(self, body: bytes, respond: Respond) -> None:
        described = self._endpoint.message_type
        result: CatgaResult[Any]
        try:
            envelope = self._codec.decode(described, body)
            context = envelope.context()
            if context.deadline is not None and context.deadline <= self._clock.time():
                text = f"{described} arrived after its deadline and was not started"
                result = Failure(failed(text, "not_started", ErrorCode.TIMEOUT))
            else:
                result = await self._endpoint.handle(envelope.body, context)
        except CatgaError as error:
            logger().warning(MESSAGE_REFUSED, message=str(described), code=error.code, reason=error.message)
            result = Failure(error)
        except asyncio.CancelledError:
            if not being_cancelled():
                text = f"{described} was cancelled from within: by its handler, or by what that awaited"
                result = Failure(CatgaError(text, code=ErrorCode.HANDLER_FAILED))
            else:
                text = f"{described} was cancelled: its receiver stops, how far it came is unknown"
                result = Failure(failed(text, "unknown"))
        except BaseException as error:
            # No endpoint raises; should one, its sender is answered at once. What ends the program is raised on.
            text = f"{described} failed with {type(error).__name__}"
            result = Failure(CatgaError(text, code=ErrorCode.HANDLER_FAILED))
            if passes_through(error):
                respond(self._codec.encode_result(result))
                raise
        answer = self._codec.encode_result(result)
        if len(answer) > MAX_BODY:
            text = (
                f"the answer to {described} has {len(answer)} bytes and the hub takes {MAX_BODY}: return less"
            )
            refused = CatgaError(text, code=ErrorCode.SERIALIZATION_FAILED)
            answer = self._codec.encode_result(Failure(refused))
        respond(answer)


class Events:
    """Handles one type of event for this service.

    Args:
        endpoint: What handles it.
        service: Whose replicas share the deliveries.
        codec: Makes bytes into messages.
        limit: How many at the same time; more have to wait.
    """

    def __init__(self, endpoint: EventEndpoint, service: str, codec: EnvelopeCodec, limit: int) -> None:
        self.subject = f"event.{endpoint.message_type.name}"
        self.group = service
        self._endpoint = endpoint
        self._codec = codec
        self._room = asyncio.Semaphore(limit)
        self._intake = Intake(limit)

    def take(self, body: bytes) -> None:
        """Handle one delivery as soon as there is room."""
        self._intake.spawn(self._handle(body))

    async def drain(self, timeout: float) -> None:
        """Finish what has arrived, and cancel what takes longer."""
        await self._intake.drain(timeout)

    async def _handle(self, body: bytes) -> None:
        described = self._endpoint.message_type
        try:
            envelope = self._codec.decode(described, body)
        except CatgaError as error:
            logger().warning(MESSAGE_REFUSED, message=str(described), code=error.code, reason=error.message)
            return
        async with self._room:
            await self._endpoint.handle(envelope.body, envelope.context())
