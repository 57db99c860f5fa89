"""`SagaSignals`: delivers events to the sagas that wait for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catga_core.interfaces.saga_store import SagaStore
from catga_core.messages import Event
from catga_core.messages.context import current_context
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.signals import event_signal
from catga_core.sagas.types import SagaType, topic_of


class SagaSignals:
    """Keeps the events that sagas wait for; the handlers that `add_sagas` registers call it.

    Args:
        executor: Runs sagas.
        store: Returns the current store.
        types: Returns the registered sagas.
    """

    def __init__(
        self, executor: SagaExecutor, store: Callable[[], SagaStore], types: Callable[[], Sequence[SagaType]]
    ) -> None:
        self._executor = executor
        self._store = store
        self._types = types

    async def receive(self, event: Event, declared: type[Event]) -> None:
        """Store an event for the sagas that wait for it now or later.

        Args:
            event: The event; stored in the ambient unit of work, if there is one.
            declared: The class in `@saga(waits_for=...)`.

        Raises:
            SerializationError: The event does not survive serialization unchanged.
        """
        keys = dict.fromkeys(
            topic_of(declared, key_of(event))
            for each in self._types()
            if (key_of := each.topics.get(declared)) is not None
        )
        message_id = current_context().message_id
        for topic in keys:
            await self._store().signal(event_signal(event, topic, message_id))
            self._executor.notify(topic)
