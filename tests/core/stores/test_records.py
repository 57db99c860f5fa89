"""Codecs of records that stores share."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catga_core.errors import ConcurrencyError
from catga_core.interfaces import (
    ANY,
    AppendResult,
    DeadLetter,
    DeadLetterSource,
    EventRecord,
    MessageContext,
    OutboxMessage,
    QueuedMessage,
    Snapshot,
    StreamAppend,
)
from catga_core.messages.delivery import Priority
from catga_core.storage_support import append_checks, records

headers = st.dictionaries(st.text(), st.text(), max_size=3)
maybe = st.none() | st.text()
contexts = st.builds(
    MessageContext,
    st.text(),
    st.text(),
    maybe,
    st.none() | st.floats(allow_nan=False),
    headers,
    maybe,
    maybe,
)
events = st.builds(
    EventRecord,
    st.text(),
    st.text(),
    st.integers(1, 99),
    st.text(),
    st.binary(),
    st.integers(0, 2**53),
    maybe,
    maybe,
    headers,
)
times = st.floats(0, 2e9)
letters = st.builds(
    DeadLetter,
    id=st.text(),
    source=st.sampled_from(DeadLetterSource),
    handler=st.text(),
    name=st.text(),
    schema_version=st.integers(1, 99),
    format=st.text(),
    data=st.binary(),
    context=contexts,
    code=st.text(),
    message=st.text(),
    traceback=maybe,
    attempts=st.integers(0, 99),
    first_failed_at=times,
    last_failed_at=times,
    replays=st.integers(0, 99),
    queue=st.text(),
    key=maybe,
)
messages = st.builds(
    OutboxMessage, st.text(), st.integers(1, 9), st.text(), st.binary(), contexts, maybe, times
)
queued = st.builds(
    QueuedMessage,
    name=st.text(),
    schema_version=st.integers(1, 9),
    format=st.text(),
    data=st.binary(),
    context=contexts,
    due_at=times,
    created_at=times,
    key=maybe,
    priority=st.sampled_from(Priority),
    fingerprint=st.text(),
)
snapshots = st.builds(
    Snapshot,
    st.text(),
    st.integers(1, 99),
    st.text(),
    st.integers(1, 9),
    st.text(),
    st.binary(),
    st.integers(0, 2**53),
)


@given(events)
def test_event_survives_its_bytes(record: EventRecord) -> None:
    assert records.decode_event(records.encode_event(record)) == record


@given(messages)
def test_outbox_message_survives_its_bytes(message: OutboxMessage) -> None:
    assert records.decode_message(records.encode_message(message)) == message


@given(queued)
def test_queued_message_survives_its_bytes(message: QueuedMessage) -> None:
    assert records.decode_queued(records.encode_queued(message)) == message


@given(letters)
def test_dead_letter_survives_its_bytes_and_its_fields(letter: DeadLetter) -> None:
    assert records.decode_letter(records.encode_letter(letter)) == letter
    fields = records.letter_fields(letter, "context")
    assert fields[7] == "context"
    assert records.letter_of(letter.context, fields[:7], fields[8:]) == letter


def test_dead_letter_of_before_queues_is_read() -> None:
    context = ("m-1", "c-1", None, None, None, None, None)
    fields = (
        "l-1",
        "handler",
        "Mail",
        "kit.Told",
        1,
        "json",
        b"{}",
        context,
        "TIMEOUT",
        "",
        None,
        3,
        1.0,
        2.0,
        1,
    )

    letter = records.decode_letter(msgspec.msgpack.encode(fields))

    assert (letter.id, letter.replays, letter.queue, letter.key) == ("l-1", 1, "", None)


@given(snapshots)
def test_snapshot_survives_its_bytes(snapshot: Snapshot) -> None:
    assert records.decode_snapshot(records.encode_snapshot(snapshot)) == snapshot


@given(contexts)
def test_context_survives_without_its_message_id(context: MessageContext) -> None:
    assert records.decode_context(context.message_id, records.encode_context(context)) == context
    stored = records.encode_headers(context.headers)
    assert records.decode_headers(stored) == context.headers
    assert (stored is None) is (not context.headers)


def record(message_id: str) -> EventRecord:
    return EventRecord(message_id, "Paid", 1, "json", b"", 1)


@pytest.mark.parametrize(
    ("appends", "problem"),
    [
        ([StreamAppend("a", -2, [record("1")])], "expected_version=-2"),
        ([StreamAppend("a", ANY, [record("1"), record("1")])], "same message_id"),
        ([StreamAppend("a", ANY, [record("1")]), StreamAppend("a", ANY, ())], "named twice"),
    ],
)
def test_malformed_append_is_refused(appends: list[StreamAppend], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        append_checks.check_appends(appends)


def test_guards_are_checked_and_answered_in_their_places() -> None:
    appends = [StreamAppend("a", 3, ()), StreamAppend("b", ANY, [record("1")]), StreamAppend("c", ANY, ())]
    versions = {"a": 3, "b": 1, "c": 7}

    append_checks.check_appends(appends)
    assert append_checks.refused_guard(appends, versions.__getitem__) is None
    assert append_checks.with_guards(appends, [AppendResult(2, 9)], versions.__getitem__) == [
        AppendResult(3, 0),
        AppendResult(2, 9),
        AppendResult(7, 0),
    ]


def test_moved_guard_is_refused_with_its_versions() -> None:
    refused = append_checks.refused_guard([StreamAppend("a", 3, ())], lambda _: 4)

    assert isinstance(refused, ConcurrencyError)
    assert (refused.stream_id, refused.expected, refused.actual) == ("a", 3, 4)


def test_only_repeated_appends_make_guards_irrelevant() -> None:
    guard, new = StreamAppend("a", 3, ()), StreamAppend("b", ANY, [record("1")])
    done = AppendResult(1, 1)

    assert append_checks.all_repeated([guard, new], [None, done])
    assert not append_checks.all_repeated([guard, new], [None, None])
    assert not append_checks.all_repeated([guard], [None])
