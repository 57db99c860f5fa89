"""The dead letter of a saga whose compensation failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from catga_core.clock import Clock
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource, DeadLetterStore
from catga_core.interfaces.saga_records import SagaPause, SagaRecord
from catga_core.interfaces.saga_store import SagaStore
from catga_core.interfaces.storage import Storage
from catga_core.messages.message_context import MessageContext
from catga_core.sagas.journal import Journal
from catga_core.sagas.records import beginning_of, failure_of_pause
from catga_core.sagas.signals import end_signal
from catga_core.sagas.types import SagaType


def letter_writer(
    letters: Callable[[], DeadLetterStore],
    storage: Callable[[], Storage],
    clock: Clock,
) -> Callable[[SagaRecord, SagaType, Journal, SagaPause], Awaitable[None]]:
    """Return a function that ends a saga and writes its dead letter in one unit of work.

    Args:
        letters: Returns the current store of dead letters.
        storage: Returns the current storage.
        clock: The container's clock.
    """

    async def write(record: SagaRecord, type_: SagaType, journal: Journal, pause: SagaPause) -> None:
        saga = record.saga
        beginning = beginning_of(record)
        code, message = failure_of_pause(pause)
        now = clock.time()
        letter = DeadLetter(
            id=f"saga:{saga.transaction_id}",
            source=DeadLetterSource.SAGA,
            handler=type_.name,
            name=type_.name,
            schema_version=saga.version,
            format=saga.format,
            data=beginning.data,
            context=MessageContext(saga.transaction_id, beginning.correlation_id),
            code=code,
            message=message,
            traceback=None,
            attempts=1,
            first_failed_at=now,
            last_failed_at=now,
        )

        async def also(store: SagaStore) -> None:
            await letters().add(letter)
            if saga.parent is not None:
                await store.signal(end_signal(saga.transaction_id))

        await journal.release_with(storage(), pause, also)

    return write
