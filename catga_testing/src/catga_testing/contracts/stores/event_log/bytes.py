"""What is stored comes back as it was, whatever is in it and however it is called."""

from __future__ import annotations

import asyncio

import pytest

from catga_core.interfaces import EventLog
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything, stream
from catga_testing.contracts.stores.records import FULL_CONTEXT, ODD_DATA, ODD_NAMES, appends, record


class BytesContract(EventLogContractBase):
    """Every byte, every character, and nothing mixed up."""

    @pytest.mark.parametrize("data", ODD_DATA, ids=lambda data: f"{len(data)} bytes {data[:3].hex()}")
    async def test_bytes_come_back_as_they_were(self, log: EventLog, data: bytes) -> None:
        """None at all, every value, and a MiB of them."""
        given = record(data=data)

        await log.append([appends("orders-1", given)])

        assert [each.record for each in await stream(log, "orders-1")] == [given]
        assert [each.record for each in await everything(log)] == [given]

    async def test_every_field_comes_back_as_it_was(self, log: EventLog) -> None:
        """Those that are left out as well."""
        full = record(
            FULL_CONTEXT.message_id,
            name="orders.Größe{}: *",
            schema_version=2**31 - 1,
            format="msgpack+ü",
            recorded_at=2**53 - 1,
            correlation_id=FULL_CONTEXT.correlation_id,
            causation_id=FULL_CONTEXT.causation_id,
            headers=FULL_CONTEXT.headers,
        )
        bare = record(recorded_at=0, correlation_id=None, causation_id=None, headers={})
        half = record(correlation_id="", causation_id=None, headers={"": ""})

        await log.append([appends("orders-1", full, bare, half)])

        stored = [each.record for each in await stream(log, "orders-1")]
        assert stored == [full, bare, half]
        assert [each.record for each in await everything(log)] == stored
        assert [dict(each.headers) for each in stored] == [dict(FULL_CONTEXT.headers), {}, {"": ""}]

    async def test_streams_with_similar_names_are_kept_apart(self, log: EventLog) -> None:
        """Separators, patterns, escapes, capitals, compositions of one character, names of 512 characters."""
        given = {name: record() for name in ODD_NAMES}

        await asyncio.gather(*(log.append([appends(name, each)]) for name, each in given.items()))

        for name, each in given.items():
            found = await stream(log, name)
            assert [(event.stream_id, event.record) for event in found] == [(name, each)]
            assert await log.version(name) == 1

    async def test_message_ids_are_kept_apart(self, log: EventLog) -> None:
        """Within one stream, and one by one recognised again."""
        given = [record(name) for name in ODD_NAMES]
        for each in given:
            await log.append([appends("orders-1", each)])
        for each in given:
            await log.append([appends("orders-1", each)])

        assert [each.record for each in await stream(log, "orders-1")] == given
