from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catga_core.identifiers import new_id
from catga_core.interfaces import EventRecord, Stores
from catga_sqlite.engine.columns import bound_id
from catga_sqlite.engine.ids import pack_id, unpack_id
from tests.sqlite.support import append, log_of

OWN, OTHER = new_id(), "conversation-7"
HEADERS: dict[str, str] = {"tenant": "a"}


@given(st.text() | st.text("0123456789abcdefABCDEF ", min_size=32, max_size=32))
def test_id_survives_packing(text: str) -> None:
    assert unpack_id(pack_id(text)) == text


def test_own_id_is_packed_into_16_bytes() -> None:
    assert pack_id("00ff" * 8) == b"\x00\xff" * 8
    assert pack_id("00FF" * 8) == "00FF" * 8


@given(st.text() | st.text("0123456789abcdefABCDEF ", min_size=32, max_size=32))
def test_bound_id_equals_packed_id(text: str) -> None:
    assert bound_id(text) == pack_id(text)


@pytest.mark.parametrize("text", ["00ff" * 8, "00FF" * 8, "order-1", " " * 32, "0" * 31])
def test_bound_id_avoids_adapters_of_sqlite3(text: str) -> None:
    assert type(bound_id(text)) in {str, bytearray}


async def test_events_of_every_row_shape_in_one_append_read_back_unchanged(stores: Stores) -> None:
    shapes: Any = itertools.product((None, OWN, OTHER), (None, OWN, OTHER), ({}, HEADERS))
    records = [
        EventRecord(new_id(), f"kind-{number % 3}", 1, "json", bytes([number]), number, *shape)
        for number, shape in enumerate(shapes)
    ]
    many = records + [EventRecord(new_id(), "kind-0", 1, "json", b"x", 1) for _ in range(77)]

    [result] = await log_of(stores).append([append("order-1", *many)])

    read = await log_of(stores).read_stream(
        "order-1", from_version=1, to_version=None, limit=500, backward=False
    )
    assert [each.record for each in read] == many
    assert [each.version for each in read] == list(range(1, len(many) + 1))
    assert [each.position for each in read] == list(
        range(result.position - len(many) + 1, result.position + 1)
    )
    assert await log_of(stores).read_all(after=0, limit=500) == read
