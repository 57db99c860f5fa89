"""Headers are read as nats-py reads them, however the bytes arrive."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from catga_nats.client import CatgaClient
from catga_nats.parser import plain_headers

Taken = tuple[bytes, bytes, bytes, Mapping[str, str] | None]

BLOCKS = [
    b"NATS/1.0\r\na: 1\r\nB-c:2\r\n\r\n",
    b"NATS/1.0\r\na:  1 \t\r\na: 2\r\nempty:\r\nurl: http://x:1/y%20z\r\n\r\n",
    b"NATS/1.0\r\na: \xc3\xa9\r\n\r\n",
    b"NATS/1.0\r\na: \xff\r\n\r\n",
    b"NATS/1.0\r\na b: 1\r\nc: 2\r\n\r\n",
    b"NATS/1.0\r\n a : 1\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\nc: 2\r\n\r\n",
    b"NATS/1.0\r\na: 1\x1f\x0b\r\n\r\n",
    b"NATS/1.0\r\n: 1\r\nb: 2\r\n\r\n",
    b"NATS/1.0\r\na: 1\nb: 2\r\n\r\n",
    b"NATS/1.0 404\r\n\r\n",
    b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\n\r\n",
    b"NATS/1.0\r\n\r\n",
]


async def as_nats_py(block: bytes) -> Mapping[str, str] | None:
    return await Client()._process_headers(block)


@pytest.mark.parametrize("block", BLOCKS)
async def test_plain_block_is_read_as_by_nats_py(block: bytes) -> None:
    found = plain_headers(block)

    assert found is None or found == await as_nats_py(block)


def test_usual_block_is_plain() -> None:
    assert plain_headers(BLOCKS[0]) == {"a": "1", "B-c": "2"}


_BYTES = st.text("aB:- \t\r\n\x0b\x1cé%", max_size=12).map(lambda text: text.encode("latin-1"))


@given(st.lists(st.tuples(_BYTES, _BYTES), max_size=4))
async def test_any_block_is_read_as_by_nats_py(lines: list[tuple[bytes, bytes]]) -> None:
    block = b"NATS/1.0\r\n" + b"".join(b"%b:%b\r\n" % line for line in lines) + b"\r\n"
    found = plain_headers(block)

    assert found is None or found == await as_nats_py(block)


def message(block: bytes, payload: bytes, reply: bytes = b"") -> bytes:
    words = b" ".join(filter(None, [b"some.subject 7", reply]))
    size = len(block)
    return b"HMSG %b %d %d\r\n%b%b\r\n" % (words, size, size + len(payload), block, payload)


async def taken_of(pieces: list[bytes]) -> list[Taken]:
    taken: list[Taken] = []
    client = CatgaClient(demand_tls=False, on_refusal=lambda _text: None)
    client._sinks[b"7"] = lambda *each: taken.append(each)
    for piece in pieces:
        await client._ps.parse(piece)
    return taken


async def test_messages_with_headers_arrive_whatever_the_reads_are() -> None:
    sent = [
        message(BLOCKS[0], b"one"),
        b"MSG some.subject 7 3\r\ntwo\r\n",
        message(BLOCKS[11], b""),
        message(BLOCKS[2], b"three\r\n", b"to.me"),
        message(BLOCKS[1], b"", b"to.me"),
    ]
    expected = [
        (b"some.subject", b"", b"one", await as_nats_py(BLOCKS[0])),
        (b"some.subject", b"", b"two", None),
        (b"some.subject", b"", b"", await as_nats_py(BLOCKS[11])),
        (b"some.subject", b"to.me", b"three\r\n", await as_nats_py(BLOCKS[2])),
        (b"some.subject", b"to.me", b"", await as_nats_py(BLOCKS[1])),
    ]
    data = b"".join(sent)

    assert await taken_of([data]) == expected
    for cut in range(1, len(data)):
        assert await taken_of([data[:cut], data[cut:]]) == expected, cut
    assert await taken_of([data[each : each + 1] for each in range(len(data))]) == expected
