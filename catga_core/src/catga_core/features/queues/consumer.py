"""`QueueConsumer`: receives the messages of one queue, as many as there are free slots, and handles them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context

from catga_core.clock import Clock
from catga_core.features.queues.attempt import Attempt
from catga_core.features.queues.handling import Handling
from catga_core.interfaces.durable_transport import DurableTransport, QueueDefinition, Received
from catga_core.log import QUEUE_UNREACHABLE, WORKER_FAILED, logger, traceback_of
from catga_core.runtime.cancellation import cancel_and_wait
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.shielded import cleanup
from catga_core.runtime.tasks import background_task
from catga_core.runtime.worker import Worker

_FIRST_RETRY_SECONDS = 0.1
_MAX_RETRY_SECONDS = 10.0
_RECEIVE_SECONDS = 30.0
_FLUSH_SECONDS = 0.05  # a message that was just released is received within it


class QueueConsumer:
    """Consumes one queue.

    Args:
        definition: The queue.
        handling: Handles and settles one message.
        transport: Returns the current durable transport.
        clock: The container's clock.
    """

    def __init__(
        self,
        definition: QueueDefinition,
        handling: Handling,
        transport: Callable[[], DurableTransport],
        clock: Clock,
    ) -> None:
        self._definition = definition
        self._handling = handling
        self._transport = transport
        self._clock = clock
        self._running: dict[asyncio.Task[None], Attempt] = {}
        self._worker = Worker(
            f"queue {definition.name}",
            self._turn,
            every=0.0,
            clock=clock,
            retry=RetryPolicy(
                max_attempts=None, delay_seconds=_FIRST_RETRY_SECONDS, max_delay_seconds=_MAX_RETRY_SECONDS
            ),
            on_error=self._unreachable,
        )

    @property
    def definition(self) -> QueueDefinition:
        """The queue."""
        return self._definition

    @property
    def attempts(self) -> Collection[Attempt]:
        """What is being handled."""
        return self._running.values()

    @property
    def last_error(self) -> str | None:
        """Why nothing can be received, `None` where it can."""
        return self._worker.last_error

    def start(self) -> None:
        """Begin to receive."""
        self._worker.start()

    async def stop(self) -> None:
        """Receive nothing more."""
        await self._worker.stop(cancel=True)

    async def flush(self) -> bool:
        """Handle what is due, once this consumer receives nothing more by itself; return whether there was anything."""
        handled = False
        while True:
            free = self._definition.concurrency - len(self._running)
            if free:
                got = await self._transport().receive(
                    self._definition.name, limit=free, timeout=_FLUSH_SECONDS
                )
                self._take(got)
            if not self._running:
                return handled
            handled = True
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def finish(self) -> None:
        """Finish what is handled."""
        while self._running:
            await asyncio.wait(self._running)

    async def give_back(self) -> None:
        """Cancel what is handled still, and give it back."""
        if self._running:
            await cleanup(self._give_back())

    async def _turn(self) -> bool:
        free = self._definition.concurrency - len(self._running)
        if free <= 0:
            await self._worker.wait(timeout=_RECEIVE_SECONDS)
            return True
        self._take(
            await self._transport().receive(self._definition.name, limit=free, timeout=_RECEIVE_SECONDS)
        )
        return True

    def _take(self, received: Collection[Received]) -> None:
        definition = self._definition
        until = self._clock.monotonic() + definition.lease
        # What is committed with the end of its message is refused from a process that has lost it.
        fenced = definition.confirms and self._transport().capabilities.transactional
        for each in received:
            strict = each.message.key is not None and not fenced
            if each.fence is not None and self._handles(each):
                # Delivered again while this process was too late to renew it: the former attempt may be committing still.
                each.fence.token = None
            attempt = Attempt(each, until=until, strict=strict, now=self._clock.monotonic)
            # An empty context: nothing of the worker's leaks into a handler.
            task = background_task(self._handling.handle(definition, attempt), context=Context())
            attempt.task = task
            self._running[task] = attempt
            task.add_done_callback(self._ended)

    def _handles(self, received: Received) -> bool:
        message_id = received.message.context.message_id
        return any(each.received.message.context.message_id == message_id for each in self.attempts)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._worker.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            # It is delivered again after its lease.
            logger().error(WORKER_FAILED, worker=self._worker.name, stack=traceback_of(error))

    async def _give_back(self) -> None:
        left = dict(self._running)
        for task in left:
            await cancel_and_wait(task)
        await self._transport().release([each.received for each in left.values()])

    def _unreachable(self, error: Exception, delay: float) -> None:
        logger().error(
            QUEUE_UNREACHABLE,
            queue=self._definition.name,
            error=f"{type(error).__name__}: {error}",
            retry_in_seconds=round(delay, 3),
        )
