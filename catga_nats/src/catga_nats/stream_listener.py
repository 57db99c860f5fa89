"""Stream queries that arrive: read, checked against limits, and answered with the items of their handler."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from catga_core.clock import Clock
from catga_core.errors import CatgaError
from catga_core.interfaces.endpoints import StreamEndpoint, validates
from catga_core.log import MESSAGE_CANCELLED, MESSAGE_FAILED, logger
from catga_core.messages.message_context import MessageContext
from catga_core.messages.stream_frames import StreamFrames
from catga_core.pipeline import failure_of
from catga_core.runtime import being_cancelled, cancelled_by_handler, cancelled_itself, passes_through
from catga_nats.failures import busy, expired, internal, shutting_down, whereabouts
from catga_nats.inbound import Arrived, Headers, Listener
from catga_nats.stream_answer import StreamAnswer
from catga_nats.stream_headers import Flow


class StreamListener(Listener):
    """Handles one type of stream query.

    Args:
        endpoint: What handles it.
        clock: What deadlines are compared with.
        patience: Seconds that an item may wait for the server where the query has no deadline.
        flow: How much of one stream may be out.
        frames: Reads and writes frames.
        shared: As for every listener.
    """

    def __init__(
        self,
        endpoint: StreamEndpoint,
        clock: Clock,
        patience: float,
        flow: Flow,
        frames: StreamFrames,
        subject: str,
        queue: str,
        *shared: Any,
    ) -> None:
        super().__init__(endpoint.message_type, subject, queue, *shared, lenient=validates(endpoint))
        self._endpoint = endpoint
        self._clock = clock
        self._patience = patience
        self._flow = flow
        self._frames = frames

    def deliver(self, _: bytes, reply: bytes, data: bytes, headers: Headers, /) -> None:
        """Answer one stream query concurrently with the others."""
        if not reply:
            self._counters.streams_refused += 1
        elif self._stopping:
            self._abandon((reply, data, headers))
        else:
            self._intake.put((reply, data, headers))

    def _begin(self, message: Arrived, /) -> Coroutine[Any, Any, object] | None:
        reply, data, headers = message
        try:
            body, context = self._read(data, headers)
            flow = self._flow.agreed(headers)
        except CatgaError as error:
            self._counters.streams_refused += 1
            self._refused(error)
            self._refuse(reply, error)
            return None
        deadline = context.deadline
        if deadline is not None and deadline <= self._clock.time():
            self._counters.streams_expired += 1
            self._refuse(reply, expired(self._type))
            return None
        self._counters.streams_received += 1
        return self._run(self._answer(reply, context, flow), body, context)

    def _answer(self, reply: bytes, context: MessageContext, flow: Flow) -> StreamAnswer:
        return StreamAnswer(
            self._type,
            reply,
            context,
            self._clock,
            self._patience,
            self._connection,
            self._frames,
            flow,
            self._counters,
        )

    def _failed(self, message: Arrived, error: BaseException, /) -> None:
        # Not by its handler, which `_run` answers for.
        self._refuse(message[0], self._broken(error))

    def _overflowed(self, waiting: deque[Arrived], /) -> None:
        while waiting:
            self._counters.streams_limited += 1
            self._refuse(waiting.popleft()[0], busy(self._type, self._intake.limit))

    def _abandon(self, message: Arrived, /) -> None:
        self._counters.streams_abandoned += 1
        self._refuse(message[0], shutting_down(self._type, started=False))

    def _refuse(self, reply: bytes, error: CatgaError) -> None:
        self._answer(reply, MessageContext("", "", None, None), self._flow).end(error)

    async def _run(self, answer: StreamAnswer, body: Any, context: MessageContext) -> None:
        failed: CatgaError | None = None
        try:
            await answer.run(self._endpoint.stream(body, context))
        except asyncio.CancelledError as error:
            if not being_cancelled() or cancelled_by_handler():
                self._broken(error)
                failed = cancelled_itself(str(self._type))
            else:
                self._counters.streams_abandoned += 1
                logger().warning(MESSAGE_CANCELLED, message=str(self._type), message_id=context.message_id)
                failed = shutting_down(self._type, started=True)
        except CatgaError as error:
            failed = error
        except Exception as error:  # noqa: BLE001  # an endpoint raises nothing else; should it, its asker gets an answer
            failed = self._broken(error)
        except BaseException as error:
            # What ends the program is raised on; the asker does not wait for its deadline.
            self._broken(error)
            failed = failure_of(error, str(self._type)).error
            if passes_through(error):
                answer.end(failed)
                raise
        answer.end(failed)

    def _broken(self, error: BaseException) -> CatgaError:
        self._counters.streams_failed += 1
        logger().error(MESSAGE_FAILED, message=str(self._type), error=whereabouts(error))
        return internal(self._type)
