"""Journals of sagas outside of a store: exported, kept as files, or built in a test."""

from __future__ import annotations

from typing import Any, Final, Self, TypeVar

import msgspec

from catga_core.errors import SerializationError
from catga_core.interfaces.saga_records import (
    ALL_SAGAS,
    NewSaga,
    SagaFilter,
    SagaRecord,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.messages import Event
from catga_core.sagas import Saga
from catga_core.sagas.entries import (
    Entry,
    Failing,
    Received,
    Sleep,
    Step,
    StepFailed,
    Time,
    Wait,
    encode_entry,
)
from catga_core.sagas.failures import recorded_error
from catga_core.sagas.records import Beginning, encode_record
from catga_core.sagas.signals import event_signal
from catga_core.sagas.types import saga_type, topic_of
from catga_core.sagas.values import encode_value
from catga_testing.clock import START

D = TypeVar("D")

_FORMAT: Final = b"catga-saga-journal-1\n"


class _Kept(msgspec.Struct, frozen=True):
    record: SagaRecord
    entries: list[bytes]


class SagaJournal(msgspec.Struct, frozen=True):
    """A saga and its journal.

    Args:
        record: The saga.
        entries: The entries of its journal.
    """

    record: SagaRecord
    entries: tuple[bytes, ...] = ()

    @property
    def transaction_id(self) -> str:
        """The saga's transaction id."""
        return self.record.saga.transaction_id

    @classmethod
    def of(cls, saga: type[Saga[D, Any]], data: D, *, transaction_id: str = "tx-1") -> Self:
        """Create the journal of a saga that has just begun.

        Args:
            saga: Its class.
            data: What it begins with.
            transaction_id: Its transaction id.
        """
        type_ = saga_type(saga, {})
        beginning = encode_record(Beginning(type_.encode_data(data), transaction_id))
        new = NewSaga(transaction_id, type_.name, type_.version, "msgpack", beginning)
        now = START.timestamp()
        return cls(SagaRecord(new, SagaState.RUNNING, 0, now, now, now, leased=False))

    def step(self, name: str, result: object = None, *, branch: str = "", returns: Any = None) -> Self:
        """Add a step that succeeded.

        Args:
            name: The name of the step.
            result: What it returned.
            branch: Its branch: empty for `execute` itself, `0.1/` for the second branch of its first `gather`.
            returns: As in `SagaContext.step`.
        """
        now = START.timestamp()
        return self._with(Step(branch, name, encode_value(result, returns), 1, now, now))

    def failed_step(self, name: str, error: Exception, *, branch: str = "") -> Self:
        """Add a step that failed permanently.

        Args:
            name: The name of the step.
            error: What it raised.
            branch: As in `step`.
        """
        now = START.timestamp()
        return self._with(StepFailed(branch, name, recorded_error(error, f"the step {name!r}"), 1, now, now))

    def now(self, *, branch: str = "") -> Self:
        """Add a call of `saga.now()`.

        Args:
            branch: As in `step`.
        """
        return self._with(Time(branch, "", START.timestamp()))

    def slept(self, *, branch: str = "") -> Self:
        """Add a completed sleep.

        Args:
            branch: As in `step`.
        """
        return self._with(Sleep(branch, "", START.timestamp()))

    def received(self, event: Event, *, key: object, branch: str = "") -> Self:
        """Add a received event.

        Args:
            event: The event.
            key: The key that was waited for.
            branch: As in `step`.
        """
        topic = topic_of(type(event), key)
        data = event_signal(event, topic, "given").data
        return self._with(Wait(branch, topic, topic, None), Received(branch, topic, topic, 1, data))

    def failing(self, error: Exception, *, cancelled: bool = False) -> Self:
        """Add the start of the compensation.

        Args:
            error: Why it failed.
            cancelled: Whether it was cancelled.
        """
        return self._with(Failing(recorded_error(error, "the saga"), cancelled), state=SagaState.COMPENSATING)

    def to_bytes(self) -> bytes:
        """Encode the journal as bytes, such as for a file."""
        return _FORMAT + msgspec.msgpack.encode(_Kept(self.record, list(self.entries)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a journal.

        Raises:
            SerializationError: They are not those of a journal.
        """
        if not data.startswith(_FORMAT):
            text = (
                "The bytes are not an exported journal. Pass the bytes that SagaJournal.to_bytes() returned."
            )
            raise SerializationError(text)
        try:
            kept = msgspec.msgpack.decode(data[len(_FORMAT) :], type=_Kept)
        except msgspec.MsgspecError as error:
            text = f"The exported journal cannot be decoded: {error}"
            raise SerializationError(text) from error
        return cls(kept.record, tuple(kept.entries))

    def _with(self, *added: Entry, state: SagaState | None = None) -> Self:
        entries = (*self.entries, *map(encode_entry, added))
        record = msgspec.structs.replace(self.record, entries=len(entries), state=state or self.record.state)
        return type(self)(record, entries)


async def export_journals(
    store: SagaStore, filter: SagaFilter = ALL_SAGAS, *, limit: int | None = None
) -> list[SagaJournal]:
    """Export the journals of the sagas in a store.

    They hold the data of the sagas and the results of their steps.

    Args:
        store: The store, such as `app.get(SagaStore)`.
        filter: Which sagas; default: all.
        limit: How many at most, `None` for no limit.
    """
    found: list[SagaJournal] = []
    after: str | None = None
    while limit is None or len(found) < limit:
        page = await store.find(filter, after=after)
        for record in page.records:
            saved = await store.read(record.saga.transaction_id)
            if saved is not None:
                found.append(SagaJournal(saved.record, tuple(saved.entries)))
        after = page.next
        if after is None:
            break
    return found if limit is None else found[:limit]
