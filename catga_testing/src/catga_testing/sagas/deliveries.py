"""Delivers the commands of a saga, and the events of the saga and its world."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import sleep
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any

from catga_core import CatgaResult, Event, Failure
from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.saga_store import SagaStore
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.pipeline.failures import as_result, failure_of
from catga_core.sagas.signals import event_signal
from catga_core.sagas.types import SagaType, topic_of
from catga_testing.sagas.faults import DeliveryFault
from catga_testing.sagas.services import LATENCY
from catga_testing.sagas.timeline import brief
from catga_testing.sagas.trial import Life, Trial, running_step

_LATE_SECONDS = 60.0


class Deliveries:
    """Delivers messages to the handlers of a world, and events to the sagas that wait for them.

    Args:
        trial: The run.
        handlers: The handlers, by the class of their messages.
        types: The sagas.
        store: The store, which every process shares.
        notify: Has the sagas of the living process look for a signal.
    """

    def __init__(
        self,
        trial: Trial,
        handlers: Mapping[type[Any], Sequence[Callable[[Any], Any]]],
        types: Sequence[SagaType],
        store: SagaStore,
        notify: Callable[[str], None],
    ) -> None:
        self._trial = trial
        self._handlers = handlers
        self._types = types
        self._store = store
        self._notify = notify
        self._numbers = 0
        self._held: dict[str, DeliveryFault] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def new_id(self) -> str:
        """Return a new message id."""
        self._numbers += 1
        return f"message-{self._numbers}"

    async def send(self, life: Life, command: Any, message_id: str) -> CatgaResult[Any]:
        """Deliver a command, and return the result of its handler."""
        life.check()
        cls: Any = command.__class__
        name, handlers = cls.__name__, self._handlers.get(cls)
        if not handlers:
            text = (
                f"The world has no handler for {name}. Return one from SagaWorld.handlers(), with the command's class as the "
                "annotation of its first parameter."
            )
            return CatgaResult.failure(code=ErrorCode.HANDLER_NOT_FOUND, message=text)
        kinds = [DeliveryFault.TWICE]
        step = running_step.get()
        if step is not None and step.retried:
            kinds += [DeliveryFault.LATE, DeliveryFault.LAST]
        how = self._trial.delivery_fault(message_id, name, kinds)
        if how is DeliveryFault.LATE or how is DeliveryFault.LAST:
            self._held[message_id] = how
            self._trial.note(life.number, f"{brief(command)} is on its way", injected=True)
            return CatgaResult.failure(
                code=ErrorCode.TIMEOUT, message="Injected: no answer in time.", retryable=True
            )
        await sleep(LATENCY)
        result = await self._handle(command, message_id, handlers[0], life.number)
        if how is DeliveryFault.TWICE:
            self._trial.note(0, f"{name} is delivered twice", injected=True)
            await self._handle(command, message_id, handlers[0], 0)
        held = self._held.pop(message_id, None)
        if held is DeliveryFault.LATE:
            self._trial.note(0, f"the first {name} arrives", injected=True)
            await self._handle(command, message_id, handlers[0], 0)
        elif held is DeliveryFault.LAST:

            async def late() -> None:
                self._trial.note(0, f"the first {name} arrives", injected=True)
                await self._handle(command, message_id, handlers[0], 0)

            self._later(_LATE_SECONDS, late)
        self._trial.changed(life, f"{name} was handled")
        await sleep(LATENCY)
        return result

    def publish(self, event: Event, *, after: float = 0.0, message_id: str | None = None) -> None:
        """Deliver an event to the handlers of the world and to the sagas that wait for it."""
        given = message_id or self.new_id()
        name = type(event).__name__
        how = self._trial.delivery_fault(given, name, [DeliveryFault.TWICE, DeliveryFault.LAST])

        async def deliver() -> None:
            await self._deliver(event, given)
            if how is DeliveryFault.TWICE:
                self._trial.note(0, f"{name} is delivered twice", injected=True)
                await self._deliver(event, given)

        if how is DeliveryFault.LAST:
            self._trial.note(0, f"{name} arrives {_LATE_SECONDS:g} s late", injected=True)
            after += _LATE_SECONDS
        self._later(after, deliver)

    def publish_from(self, life: Life, event: Event, message_id: str | None) -> None:
        """Deliver an event that a process publishes."""
        life.check()
        self.publish(event, message_id=message_id)
        self._trial.changed(life, f"{type(event).__name__} was published")

    # --- parts ---

    async def _deliver(self, event: Event, message_id: str) -> None:
        cls = type(event)
        self._trial.note(0, f"{brief(event)} arrives")
        for handler in self._handlers.get(cls, ()):
            await self._handle(event, message_id, handler, 0)
        for each in self._types:
            for declared, key_of in each.topics.items():
                if isinstance(event, declared):
                    topic = topic_of(declared, key_of(event))
                    await self._store.signal(event_signal(event, topic, message_id))
                    self._notify(topic)

    async def _handle(
        self, message: Any, message_id: str, handler: Callable[[Any], Any], process: int
    ) -> CatgaResult[Any]:
        bound = active_context.set(MessageContext(message_id, message_id))
        try:
            found = handler(message)
            if inspect.isawaitable(found):
                found = await found
            result = as_result(found)
        except Exception as error:  # noqa: BLE001 - it is the result
            result = failure_of(error, type(message).__name__)
        finally:
            active_context.reset(bound)
        shown = (
            f"raises {brief(result.error)}"
            if isinstance(result, Failure)
            else f"-> {brief(result.value, 40)}"
        )
        self._trial.note(process, f"{brief(message)} {shown}")
        return result

    def _later(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            try:
                await sleep(seconds)
                await work()
            finally:
                self._trial.pending -= 1

        self._trial.pending += 1
        task = asyncio.Task(run(), loop=asyncio.get_running_loop(), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class WorldMediator:
    """The mediator of one process: sends to the handlers of the world.

    Args:
        deliveries: Delivers.
        life: The process.
    """

    def __init__(self, deliveries: Deliveries, life: Life) -> None:
        self._deliveries = deliveries
        self._life = life

    async def send(
        self, request: Any, /, *, message_id: str | None = None, **_options: object
    ) -> CatgaResult[Any]:
        """Deliver a command or a query, and return its result."""
        return await self._deliveries.send(self._life, request, message_id or self._deliveries.new_id())

    async def publish(self, event: Event, /, *, message_id: str | None = None, **_options: object) -> None:
        """Deliver an event."""
        self._deliveries.publish_from(self._life, event, message_id)

    def __getattr__(self, name: str) -> Any:
        text = f"The mediator of an exploration offers send() and publish(), not {name}()."
        raise CatgaError(text, code=ErrorCode.INTERNAL_ERROR)
