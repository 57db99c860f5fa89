"""A shorter way through nats-py's parser for the one thing that arrives by the ten thousand: a complete MSG."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from catga_core.log import MESSAGE_REFUSED, logger
from catga_nats.failures import whereabouts

Deliver = Callable[[bytes, bytes, bytes, Mapping[str, str] | None], None]
"""Takes subject, reply subject (empty for none), payload and headers of one message; never waits."""

_LARGE = 65_536  # a message that is longer is gathered by nats-py's parser, which appends without copying


RAISED = (Exception, asyncio.CancelledError)
"""What a receiver may raise. It never waits, so that a cancellation out of it is not the reader's own."""


def not_taken(subject: bytes, error: BaseException) -> None:
    """Log that a receiver raised, which it never should."""
    shown = subject.decode(errors="replace")
    logger().error(MESSAGE_REFUSED, subject=shown, reason="it could not be taken", error=whereabouts(error))


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
        sinks = self._sinks
        position = 0
        length = len(data)
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
                if end - start < _LARGE:
                    self.buf = bytearray(data[position:])
                    return
                break
            try:
                sink(words[0], words[2] if count == 4 else b"", data[start:end], None)
            except RAISED as error:  # it would end nats-py's read loop, and all subscriptions with it
                not_taken(words[0], error)
            position = end + 2
        if position < length:
            await super().parse(data[position:] if position else data)
