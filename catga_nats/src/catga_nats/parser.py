"""A shorter way through nats-py's parser for what arrives by the ten thousand: a complete MSG or HMSG."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from catga_core.log import MESSAGE_REFUSED, logger
from catga_nats.failures import whereabouts

Deliver = Callable[[bytes, bytes, bytes, Mapping[str, str] | None], None]
"""Takes subject, reply subject (empty for none), payload and headers of one message; never waits."""

_LARGE = 65_536  # a message that is longer is gathered by nats-py's parser, which appends without copying

# A block of headers without a status. Names are tokens, and no value has a control character that a strip would treat in its own way.
_BLOCK = re.compile(r"NATS/1\.0\r\n(?:[!-9;-~]+:[\t -~]*\r\n)+\r\n")
_FIRST_LINE = len("NATS/1.0\r\n")
_LAST_LINES = len("\r\n\r\n")

RAISED = (Exception, asyncio.CancelledError)
"""What a receiver may raise. It never waits, so that a cancellation out of it is not the reader's own."""


def not_taken(subject: bytes, error: BaseException) -> None:
    """Log that a receiver raised, which it never should."""
    shown = subject.decode(errors="replace")
    logger().error(MESSAGE_REFUSED, subject=shown, reason="it could not be taken", error=whereabouts(error))


def plain_headers(block: bytes) -> dict[str, str] | None:
    """Return the headers of a message, as nats-py reads them; `None` for a block that is for nats-py to read.

    Args:
        block: The whole block, with its first line and the empty one at its end.
    """
    try:
        text = block.decode("ascii")
    except UnicodeDecodeError:
        return None
    if _BLOCK.fullmatch(text) is None:
        return None
    lines = text[_FIRST_LINE:-_LAST_LINES].split("\r\n")
    return {name: value.strip() for name, _, value in [line.partition(":") for line in lines]}


class FastParser(Parser):
    """Takes complete messages out of what was read without regular expressions, and leaves the rest to nats-py.

    Measured with 64 requests in flight on one CPU: 2.2 us a message less on each side than the parser, the queue and
    the task that nats-py has in their place.

    Args:
        client: nats-py's client.
        sinks: By subscription id in decimal digits, who takes its messages.
    """

    def __init__(self, client: Any, sinks: Mapping[bytes, Deliver]) -> None:
        super().__init__(client)
        self._sinks = sinks

    async def parse(self, data: bytes = b"") -> None:
        """Take what was read from the socket."""
        if self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        if self.buf:
            data = bytes(self.buf) + data
            self.buf: bytearray = bytearray()
        position = self._take(data)
        if position < len(data):
            await super().parse(data[position:] if position else data)

    def _take(self, data: bytes) -> int:
        """Hand the messages at the beginning to their receivers; return where begins what is for nats-py to read."""
        position = 0
        while True:
            after = self._with_headers(data, self._without_headers(data, position))
            if after == position:
                return position
            position = after

    # Two loops, because one more call for each message takes as long as a tenth of all this.

    def _without_headers(self, data: bytes, position: int) -> int:
        sinks, length = self._sinks, len(data)
        while data.startswith(b"MSG ", position):
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                break
            words = data[position + 4 : line_end].split()
            count = len(words)
            # Anything unusual, a missing size say, is for nats-py to judge.
            sink = sinks.get(words[1]) if 3 <= count <= 4 else None
            if sink is None:
                break
            start = line_end + 2
            end = start + int(words[-1])
            if end + 2 > length:
                return self._keep(data, position, end - start)
            try:
                sink(words[0], words[2] if count == 4 else b"", data[start:end], None)
            except RAISED as error:  # it would end nats-py's read loop, and all subscriptions with it
                not_taken(words[0], error)
            position = end + 2
        return position

    def _with_headers(self, data: bytes, position: int) -> int:
        sinks, length = self._sinks, len(data)
        while data.startswith(b"HMSG ", position):
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                break
            words = data[position + 5 : line_end].split()
            count = len(words)
            sink = sinks.get(words[1]) if 4 <= count <= 5 else None
            if sink is None:
                break
            start = line_end + 2
            body, end = start + int(words[-2]), start + int(words[-1])
            if end + 2 > length:
                return self._keep(data, position, end - start)
            headers = plain_headers(data[start:body])
            if headers is None:
                break
            try:
                sink(words[0], words[2] if count == 5 else b"", data[body:end], headers)
            except RAISED as error:  # as above
                not_taken(words[0], error)
            position = end + 2
        return position

    def _keep(self, data: bytes, position: int, size: int) -> int:
        """Keep the beginning of a message until the rest is read; leave a large one to nats-py."""
        if size >= _LARGE:
            return position
        self.buf = bytearray(data[position:])
        return len(data)
