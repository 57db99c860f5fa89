"""The contents of a saga's record: its data, its outcome, and the reason why it is parked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.interfaces.saga_records import (
    SagaPause,
    SagaRecord,
    SagaState,
    SavedSaga,
)
from catga_core.sagas.entries import (
    Compensated,
    CompensationFailed,
    Entry,
    Failing,
    Progress,
    Step,
    StepFailed,
    decode_entry,
)
from catga_core.sagas.failures import Error, catga_error
from catga_core.sagas.journal_entries import JournalEntry
from catga_core.sagas.results import SagaResult, SagaStatus, SagaStep, StepState
from catga_core.sagas.types import SagaType


class Beginning(msgspec.Struct, frozen=True, array_like=True):
    """The data and context with which a saga began.

    Args:
        data: The bytes of its data.
        correlation_id: Its correlation id.
        traceparent: Its trace context.
        first: The bytes of its original data, if it was continued with new data since.
    """

    data: bytes
    correlation_id: str
    traceparent: str | None = None
    first: bytes | None = None


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of a saga.

    Args:
        value: The bytes of its result, `None` if it failed.
        error: Its error, `None` if it did not fail.
    """

    value: bytes | None
    error: Error | None


_encode = msgspec.msgpack.Encoder().encode
_beginning = msgspec.msgpack.Decoder(Beginning).decode
_outcome = msgspec.msgpack.Decoder(Outcome).decode
_error = msgspec.msgpack.Decoder(Error).decode


def encode_record(given: Beginning | Outcome | Error) -> bytes:
    """Return the bytes of a part of a record."""
    return _encode(given)


def beginning_of(record: SagaRecord) -> Beginning:
    """Return the beginning of a saga.

    Raises:
        SerializationError: It cannot be decoded.
    """
    try:
        return _beginning(record.saga.data)
    except msgspec.MsgspecError as error:
        text = f"The record of the saga {record.saga.transaction_id!r} cannot be decoded: {error}"
        raise SerializationError(text) from error


def problem_of(record: SagaRecord) -> CatgaError | None:
    """Return the problem of a parked saga, `None` if it is not parked."""
    return None if record.problem is None else catga_error(_error(record.problem))


def failure_of_pause(pause: SagaPause) -> tuple[str, str]:
    """Return the code and the message of an ending saga's error."""
    error = None if pause.outcome is None else _outcome(pause.outcome).error
    return ("", "") if error is None else (error.code, error.message)


def result_of(saved: SavedSaga, type_: SagaType | None) -> SagaResult[Any]:
    """Return what a saga ended with.

    Args:
        saved: The saga, final or parked.
        type_: Its class; `None` if it is unknown here, so that its result cannot be decoded.

    Raises:
        SerializationError: Its result cannot be decoded.
    """
    record = saved.record
    outcome = Outcome(None, None) if record.outcome is None else _outcome(record.outcome)
    error = problem_of(record) if outcome.error is None else catga_error(outcome.error)
    value: Any = None
    if record.state is SagaState.COMPLETED and outcome.value is not None:
        if type_ is None:
            text = f"The result of the saga {record.saga.transaction_id!r} cannot be decoded: {record.saga.name!r} is not registered. Register it."
            raise SerializationError(text)
        value = type_.decode_result(outcome.value)
    return SagaResult(
        record.saga.transaction_id, record.state, value, error, steps_of(_readable(saved.entries))
    )


def status_of(saved: SavedSaga) -> SagaStatus:
    """Return the status of a saga."""
    record = saved.record
    entries = _readable(saved.entries)
    progress = next((each for each in reversed(entries) if isinstance(each, Progress)), Progress(0.0, ""))
    failing = next((each for each in entries if isinstance(each, Failing)), None)
    waits = record.state is SagaState.WAITING and not record.leased
    return SagaStatus(
        record.saga.transaction_id,
        record.saga.name,
        record.saga.version,
        record.state,
        steps_of(entries),
        record.due_at if waits else None,
        record.cancelling,
        problem_of(record),
        None if failing is None else catga_error(failing.error),
        progress.fraction,
        progress.text,
        record.created_at,
        record.updated_at,
        record.saga.parent,
        [JournalEntry(each) for each in entries],
    )


def _readable(entries: Iterable[bytes]) -> list[Entry]:
    """Return the entries of a journal up to one that cannot be decoded."""
    found: list[Entry] = []
    # The saga is parked, and its problem has the decoding error.
    with suppress(SerializationError):
        found.extend(map(decode_entry, entries))
    return found


def steps_of(entries: Sequence[Entry]) -> list[SagaStep]:
    """Return the steps of a journal, in the order in which they ended."""
    steps: dict[str, SagaStep] = {}
    counts: dict[tuple[str, str], int] = {}
    for entry in entries:
        if isinstance(entry, Step | StepFailed):
            place = entry.branch, entry.name
            counts[place] = counts.get(place, 0) + 1
            failed = isinstance(entry, StepFailed)
            steps[f"{entry.branch}{entry.name}#{counts[place]}"] = SagaStep(
                entry.name,
                entry.branch,
                StepState.FAILED if failed else StepState.COMPLETED,
                entry.attempts,
                entry.began_at,
                entry.ended_at,
                catga_error(entry.error) if isinstance(entry, StepFailed) else None,
            )
        elif isinstance(entry, Compensated | CompensationFailed) and entry.of in steps:
            steps[entry.of] = _undone(steps[entry.of], entry)
    return list(steps.values())


def _undone(step: SagaStep, entry: Compensated | CompensationFailed) -> SagaStep:
    if isinstance(entry, Compensated):
        return msgspec.structs.replace(step, state=StepState.COMPENSATED, error=None)
    return msgspec.structs.replace(step, state=StepState.COMPENSATION_FAILED, error=catga_error(entry.error))
