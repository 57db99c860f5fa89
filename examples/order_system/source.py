"""Where orders come from: JSON Lines, one order a line, read as they are needed and never all at once."""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from io import FileIO

import msgspec

from .orders.messages import CreateOrder

_CHUNK = 64 * 1024
_LONGEST_LINE = 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SourceError(Exception):
    """The orders cannot be read; the text says why."""


class OrderLine(msgspec.Struct, frozen=True):
    """A line that is an order."""

    number: int
    order: CreateOrder


class BadLine(msgspec.Struct, frozen=True):
    """A line that is none, and why."""

    number: int
    reason: str


def open_source(name: str) -> FileIO:
    """Open a file, or the standard input for `-`.

    Raises:
        SourceError: When it cannot be opened.
    """
    if name == "-":
        return FileIO(sys.stdin.fileno(), closefd=False)
    try:
        return FileIO(name)
    except OSError as error:
        raise SourceError(f"cannot read {name}: {error.strerror}") from error


async def read_orders(source: FileIO) -> AsyncGenerator[OrderLine | BadLine, None]:
    """Read the orders line by line; empty lines are passed over, but counted."""
    decoder = msgspec.json.Decoder(CreateOrder)
    number = 0
    async for line in _lines(source):
        number += 1
        if line.strip():
            yield _decode(decoder, number, line)


def _decode(decoder: msgspec.json.Decoder[CreateOrder], number: int, line: bytes) -> OrderLine | BadLine:
    if len(line) > _LONGEST_LINE:
        return BadLine(number, f"longer than {_LONGEST_LINE} bytes")
    try:
        return OrderLine(number, decoder.decode(line))
    except (ValueError, RecursionError) as error:  # msgspec's errors and those of text that is not UTF-8
        return BadLine(number, str(error))


async def _lines(source: FileIO) -> AsyncIterator[bytes]:
    rest = b""
    first = True
    while chunk := await _chunk(source):
        if first:
            chunk, first = chunk.removeprefix(_BYTE_ORDER_MARK), False
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        # Of a line without an end only so much is kept as shows that it is too long.
        rest = rest[: _LONGEST_LINE + 1]
    if rest:
        yield rest


async def _chunk(source: FileIO) -> bytes:
    # A thread, because reading may wait for whoever writes the other end of a pipe. It looks up now and then, because
    # nothing can interrupt it: not even Ctrl-C.
    while True:
        chunk = await asyncio.to_thread(_read_if_ready, source)
        if chunk is not None:
            return chunk


def _read_if_ready(source: FileIO) -> bytes | None:
    if sys.platform != "win32" and not select.select([source], [], [], 0.2)[0]:
        return None
    return source.read(_CHUNK) or b""
