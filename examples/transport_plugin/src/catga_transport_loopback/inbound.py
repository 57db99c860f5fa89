"""What arrives: decoded, limited, handled, and answered whatever happens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from catga_core import CatgaError, CatgaResult, Clock, ErrorCode, Failure
from catga_core.interfaces import EventEndpoint, RequestEndpoint
from catga_core.log import MESSAGE_FAILED, MESSAGE_REFUSED, logger
from catga_core.messages.serialization import EnvelopeCodec
from catga_core.runtime import Intake, being_cancelled, cancelled_by_handler, passes_through

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
        self._intake: Intake[tuple[bytes, Respond]] = Intake(
            limit, lambda request: self._handle(*request), self._broken, self._refuse
        )

    def take(self, body: bytes, respond: Respond) -> None:
        """Handle one request, or answer why not."""
        self._intake.put((body, respond))

    async def drain(self, timeout: float) -> None:
        """Finish what has arrived; what is cancelled after so many seconds is answered all the same."""
        for _, respond in await self._intake.drain(timeout):
            text = f"{self._endpoint.message_type} was not started: its receiver stops"
            respond(self._codec.encode_result(Failure(failed(text, "not_started"))))

    def _refuse(self, waiting: deque[tuple[bytes, Respond]]) -> None:
        text = (
            f"{self._intake.limit} {self._endpoint.message_type} are being handled already: try again later"
        )
        refused = failed(text, "not_started", ErrorCode.CONCURRENCY_LIMITED)
        while waiting:
            _, respond = waiting.popleft()
            respond(self._codec.encode_result(Failure(refused)))

    def _broken(self, request: tuple[bytes, Respond], error: BaseException) -> None:
        _, respond = request
        described = self._endpoint.message_type
        logger().error(MESSAGE_FAILED, message=str(described), error=type(error).__name__)
        respond(
            self._codec.encode_result(Failure(failed(f"{described} failed inside its receiver", "unknown")))
        )

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
            if not being_cancelled() or cancelled_by_handler():
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
        answer = self._codec.encode_result(result, described.result, subject=f"the result of {described}")
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
        self._intake: Intake[bytes] = Intake(limit, self._begin, self._failed, lambda _waiting: None)

    def take(self, body: bytes) -> None:
        """Handle one delivery as soon as the limit allows it."""
        self._intake.put(body)

    async def drain(self, timeout: float) -> None:
        """Finish what has arrived, and cancel what takes longer."""
        await self._intake.drain(timeout)

    def _begin(self, body: bytes) -> Coroutine[Any, Any, object] | None:
        described = self._endpoint.message_type
        try:
            envelope = self._codec.decode(described, body)
        except CatgaError as error:
            logger().warning(MESSAGE_REFUSED, message=str(described), code=error.code, reason=error.message)
            return None
        return self._endpoint.handle(envelope.body, envelope.context())

    def _failed(self, body: bytes, error: BaseException) -> None:
        described = self._endpoint.message_type
        logger().error(MESSAGE_FAILED, message=str(described), error=type(error).__name__)
