"""Repeated appends whose events have equal content and other bytes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from catga_core.errors import CatgaError, EventIdConflictError
from catga_core.event_sourcing.event_types import EventTypes
from catga_core.interfaces.event_log import EventLog, EventRecord, StreamAppend
from catga_core.messages.fingerprints import content_digest
from catga_core.storage_support.append_checks import same_record


async def stored_if_equal(
    log: EventLog, types: EventTypes, appends: Sequence[StreamAppend], conflict: EventIdConflictError
) -> Sequence[StreamAppend] | None:
    """Return appends with the stored event in the place of one that has its id, its content and other bytes.

    The log recognizes them as a repetition then.

    Args:
        log: The log that refused the appends.
        types: Decodes events.
        appends: The appends of one call.
        conflict: The refusal: which event has a known id and other bytes.

    Returns:
        The appends to ask the log for, `None` where the content is not equal.
    """
    page = await log.read_stream(
        conflict.stream_id, from_version=conflict.version, to_version=None, limit=1, backward=False
    )
    for number, append in enumerate(appends):
        if append.stream_id != conflict.stream_id or not page:
            continue
        stored = page[0].record
        records = list(append.records)
        for place, given in enumerate(records):
            if given.message_id == stored.message_id == conflict.message_id and _is_equal(
                types, stored, given
            ):
                records[place] = stored
                return [*appends[:number], replace(append, records=records), *appends[number + 1 :]]
    return None


def _is_equal(types: EventTypes, stored: EventRecord, given: EventRecord) -> bool:
    """Return whether two events are equal in content, and not in bytes: as the newest version of one class."""
    if same_record(stored, given):
        # Nothing to be gained by asking the log again.
        return False
    try:
        one, other = types.decode(stored), types.decode(given)
    except CatgaError:
        return False
    digest = content_digest(one, types.serializer.encode)
    return (
        type(one) is type(other) and bool(digest) and digest == content_digest(other, types.serializer.encode)
    )
