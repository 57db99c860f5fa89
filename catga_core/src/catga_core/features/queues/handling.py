"""Handles one received message through the pipeline of its handler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from catga_core.errors import CatgaError, ErrorCode, LeaseLostError
from catga_core.features.queues.attempt import Attempt
from catga_core.features.queues.fencing import CommitFence, Fences
from catga_core.features.queues.results import ResultCodecs
from catga_core.features.queues.settling import Settling
from catga_core.interfaces.durable_transport import DurableTransport, QueueDefinition, Received
from catga_core.interfaces.endpoints import RequestEndpoint
from catga_core.interfaces.storage import Storage
from catga_core.mediator import Dispatcher
from catga_core.messages import Event, MessageKind, MessageType, Request
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer
from catga_core.pipeline import raised_of
from catga_core.runtime.cancellation import being_cancelled, cancelled_itself
from catga_core.runtime.unit_of_work import commit_guard


class Handling:
    """Decodes a message, calls its endpoint, and settles by the result.

    Args:
        dispatcher: Gives the endpoints.
        registry: Knows the messages' classes and upcasters.
        serializer: The container's serializer.
        results: Encodes the results that are kept; `None` where none are.
        settling: Settles.
        transport: Returns the current durable transport.
        storage: Returns the current storage.
        had: Returns whether the inbox knows that a handler has had a message.
        fences: Refuse commits of messages that are another process's by then.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        registry: MessageRegistry,
        serializer: Serializer,
        results: ResultCodecs | None,
        settling: Settling,
        transport: Callable[[], DurableTransport],
        storage: Callable[[], Storage],
        had: Callable[[str, str], Awaitable[bool]],
        fences: Fences,
    ) -> None:
        self._fences = fences
        self._dispatcher = dispatcher
        self._registry = registry
        self._serializer = serializer
        self._results = results
        self._settling = settling
        self._transport = transport
        self._storage = storage
        self._had = had

    async def handle(self, definition: QueueDefinition, attempt: Attempt) -> None:
        """Handle a message and settle it.

        Args:
            definition: Its queue.
            attempt: The message.
        """
        received = attempt.received
        if not self._settling.allows(received.attempt):
            attempt.handled = True
            await self._exhausted(definition, received)
            return
        message = received.message
        of: type[Any] = Event if definition.kind is MessageKind.EVENT else Request
        try:
            described, decoded = self._registry.decode(
                message.name,
                message.schema_version,
                message.format,
                message.data,
                self._serializer,
                of,
            )
        except CatgaError as error:
            attempt.handled = True
            await self._settling.failed(definition, received, error, retryable=error.retryable)
            return
        endpoint = self._endpoint(definition, described)
        if definition.confirms and self._transport().capabilities.transactional:
            await self._handle_in_transaction(definition, attempt, endpoint, decoded)
            return
        guard = CommitFence(attempt, self._fences) if attempt.strict else None
        # The task is this attempt's alone; those that the handler starts inherit it.
        commit_guard.set(guard)
        result = await _result_of(endpoint, decoded, attempt)
        if isinstance(result, Failure):
            if isinstance(result.error, LeaseLostError):
                if not attempt.holds:
                    # Another process has the message, and nothing of this attempt was committed.
                    attempt.report_lost()
                    return
                if guard is not None and guard.refused:
                    await self._refused(attempt)
                    return
            await self._failed(definition, received, decoded, result)
            return
        await self._settling.done(received, self._encoded(described, result))

    async def _handle_in_transaction(
        self, definition: QueueDefinition, attempt: Attempt, endpoint: RequestEndpoint, decoded: Any
    ) -> None:
        """Commit the handler's effects and the end of the message together, so that they happen once."""
        received = attempt.received
        result: CatgaResult[Any] | None = None
        try:
            async with self._storage().unit_of_work():
                result = await _result_of(endpoint, decoded, attempt)
                if isinstance(result, Failure):
                    raise result.error
                kept = self._encoded(endpoint.message_type, result)
                await self._transport().complete(received, result=kept)
        except CatgaError as error:
            of_handler = isinstance(result, Failure) and result.error is error
            if isinstance(error, LeaseLostError) and not of_handler:
                # Another process has the message, and nothing of this attempt was committed.
                attempt.report_lost()
                return
            if not (isinstance(result, Failure) and of_handler):
                result = Failure(error)
            await self._failed(definition, received, decoded, result)
        else:
            self._settling.counters.handled += 1

    async def _refused(self, attempt: Attempt) -> None:
        """Redeliver a message that this process still owns, after a former owner's late token."""
        received = attempt.received
        try:
            owned = received.fence is not None and await received.fence.confirm()
        except CatgaError:
            owned = False
        if owned:
            await self._settling.give_back(received)
        else:
            # It is delivered again after its lease, to the owner of its key.
            attempt.report_lost()

    async def _exhausted(self, definition: QueueDefinition, received: Received) -> None:
        """End a message whose attempts did not end by themselves."""
        if definition.confirms and not self._transport().capabilities.transactional:
            try:
                done = await self._had(received.message.context.message_id, definition.handler)
            except CatgaError:
                # Nor could a dead letter be written. It is delivered again after its lease.
                return
            if done:
                # An attempt has committed its effects, and the transport did not learn it.
                await self._settling.done(received, None)
                return
        await self._settling.failed(definition, received, _ended_each_time(received), retryable=False)

    def _endpoint(self, definition: QueueDefinition, described: MessageType) -> RequestEndpoint:
        if definition.kind is MessageKind.EVENT:
            return self._dispatcher.handler_endpoint(described, definition.handler)
        return self._dispatcher.request_endpoint(described)

    async def _failed(
        self, definition: QueueDefinition, received: Received, decoded: Any, failure: Failure[Any]
    ) -> None:
        if definition.kind is MessageKind.EVENT:
            self._dispatcher.failed_deliveries.record(
                decoded, definition.handler, failure, received.message.context
            )
        raised = raised_of(failure)
        retryable = not isinstance(raised, CatgaError) or raised.retryable
        await self._settling.failed(definition, received, failure.error, retryable=retryable)

    def _encoded(self, described: MessageType, result: CatgaResult[Any]) -> bytes | None:
        if self._results is None or described.kind is MessageKind.EVENT or not isinstance(result, Success):
            return None
        return self._results.encode(described, result.value)


async def _result_of(endpoint: RequestEndpoint, message: Any, attempt: Attempt) -> CatgaResult[Any]:
    queued = attempt.received.message
    result: CatgaResult[Any]
    try:
        result = await endpoint.handle(message, queued.context)
    except asyncio.CancelledError:
        if being_cancelled():
            raise
        result = Failure(cancelled_itself(queued.name))
    attempt.handled = attempt.returned = True
    return result


def _ended_each_time(received: Received) -> CatgaError:
    error = f": {received.error}" if received.error else ""
    text = (
        f"{received.message.name} was not handled in {received.attempt - 1} attempts, the last of which ended with its process or "
        f"lost its lease{error}. Fix the handler, and replay the dead letter."
    )
    return CatgaError(text, code=ErrorCode.HANDLER_FAILED)
