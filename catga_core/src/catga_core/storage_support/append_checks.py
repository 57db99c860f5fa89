"""Checks of appends that every event log makes in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from catga_core.errors import ConcurrencyError
from catga_core.interfaces.event_log import ANY, AppendResult, EventRecord, StreamAppend
from catga_core.option_checks import check_name, is_text


def check_appends(appends: Sequence[StreamAppend]) -> None:
    """Check the form of appends before anything is written.

    Args:
        appends: The appends of one call.

    Raises:
        ValueError: For a stream's name that has no bytes, an expected version below `ANY`, a stream that is named twice, and two events of one append with
            the same message id.
    """
    for append in appends:
        if append.expected_version < ANY:
            msg = (
                f"expected_version={append.expected_version} for the stream {append.stream_id!r} is invalid. Pass a version "
                ">= 0, NO_STREAM or ANY."
            )
            raise ValueError(msg)
        if not is_text(append.stream_id):
            check_name("stream_id", append.stream_id)
        records = append.records
        if len(records) > 1 and len({record.message_id for record in records}) < len(records):
            msg = (
                f"Two events for the stream {append.stream_id!r} have the same message_id. Give each event its own "
                "message id."
            )
            raise ValueError(msg)
    if len(appends) > 1 and len({append.stream_id for append in appends}) < len(appends):
        msg = "A stream is named twice in one append. Put all its events into one StreamAppend."
        raise ValueError(msg)


def same_record(stored: EventRecord, given: EventRecord) -> bool:
    """Return whether a stored event and one of the same message id are the same event, byte for byte.

    Args:
        stored: The stored event.
        given: The event that is appended.
    """
    return (
        stored.data == given.data
        and stored.name == given.name
        and stored.schema_version == given.schema_version
        and stored.format == given.format
    )


def refused_guard(
    appends: Sequence[StreamAppend], version_of: Callable[[str], int]
) -> ConcurrencyError | None:
    """Return the refusal of the first guard whose stream is at another version.

    Args:
        appends: The appends of one call; those without events are guards.
        version_of: Returns a stream's version.

    Returns:
        The refusal, `None` where every guard holds.
    """
    for append in appends:
        expected = append.expected_version
        if not append.records and expected != ANY:
            actual = version_of(append.stream_id)
            if actual != expected:
                return ConcurrencyError(append.stream_id, expected, actual)
    return None


def all_repeated(appends: Sequence[StreamAppend], repeated: Sequence[AppendResult | None]) -> bool:
    """Return whether every append with events is a repetition, so that guards no longer matter.

    Args:
        appends: The appends of one call.
        repeated: For each the first answer, `None` for a new append or a guard.

    Returns:
        Whether there are appends with events, and all of them are repetitions.
    """
    done = [result is not None for append, result in zip(appends, repeated, strict=True) if append.records]
    return bool(done) and all(done)


def guard_result(append: StreamAppend, version: int) -> AppendResult:
    """Return the answer to a guard that holds.

    Args:
        append: The guard.
        version: Its stream's version.

    Returns:
        The version that was guarded; position 0, because a guard writes nothing.
    """
    return AppendResult(version if append.expected_version == ANY else append.expected_version, 0)


def with_guards(
    appends: Sequence[StreamAppend], results: Sequence[AppendResult], version_of: Callable[[str], int]
) -> list[AppendResult]:
    """Return one answer for each append: the results of those with events, and the guards' in their places.

    Args:
        appends: The appends of one call.
        results: The answers to the appends with events, in their order.
        version_of: Returns a stream's version.

    Returns:
        One answer for each append, in the order of the call.
    """
    done: Iterator[AppendResult] = iter(results)
    return [
        next(done) if append.records else guard_result(append, version_of(append.stream_id))
        for append in appends
    ]
