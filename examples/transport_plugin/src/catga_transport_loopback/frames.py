"""What travels between a process and the hub: a length in four bytes, then one of these as msgpack."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import msgspec

MAX_FRAME = 16 * 1024 * 1024  # bytes
MAX_BODY = MAX_FRAME - 1024  # the rest of a frame has room in the difference
_LENGTH = 4


class Listen(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A process listens from now on; the hub sends it back when that is so."""

    subject: str
    group: str


class Leave(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A process listens no more; sent back by the hub, behind everything it had sent before."""

    subject: str
    group: str


class Ask(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A request, to one process of those that listen."""

    number: int
    subject: str
    body: bytes


class Answer(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """What came of a request."""

    number: int
    body: bytes


class Nobody(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Nobody listens for a request."""

    number: int


class Lost(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The process that had a request is gone."""

    number: int


class Tell(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """An event, to one process of each group that listens."""

    subject: str
    body: bytes


Frame: TypeAlias = Listen | Leave | Ask | Answer | Nobody | Lost | Tell

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    data = _encode(frame)
    return len(data).to_bytes(_LENGTH, "big") + data


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """Return the next frame, `None` where the stream ends or is not one of ours."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        if length > MAX_FRAME:
            return None
        return _decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
        return None
