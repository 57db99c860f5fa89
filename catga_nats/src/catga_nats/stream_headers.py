"""What a stream query says about its flow, in NATS headers beside either form of the envelope."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from catga_core.errors import SerializationError
from catga_nats.options import HEARTBEATS, NatsOptions

_ITEMS = "catga-stream-window"
_BYTES = "catga-stream-window-bytes"
_HEARTBEAT = "catga-stream-heartbeat"
_DIGITS = 15


class Flow(msgspec.Struct, frozen=True):
    """How much may be out, and how often both sides show that they are there.

    Args:
        items: Items that may be out.
        size: Bytes of them.
        heartbeat: Seconds.
    """

    items: int
    size: int
    heartbeat: float

    def headers(self) -> dict[str, str]:
        """Return the headers that carry it."""
        return {
            _ITEMS: str(self.items),
            _BYTES: str(self.size),
            _HEARTBEAT: str(max(1, round(self.heartbeat * 1000))),
        }

    def agreed(self, headers: Mapping[str, str] | None) -> Flow:
        """Return what holds between this side and an asker: its heartbeat, and the smaller windows.

        Args:
            headers: Those of its query; what is missing there is as here.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` for a header that is not a number from 1.
        """
        known = {key.lower(): value for key, value in (headers or {}).items()}
        heartbeat = _number(known, _HEARTBEAT, round(self.heartbeat * 1000)) / 1000
        return Flow(
            min(self.items, _number(known, _ITEMS, self.items)),
            min(self.size, _number(known, _BYTES, self.size)),
            min(max(heartbeat, HEARTBEATS[0]), HEARTBEATS[1]),
        )


def flow_of(options: NatsOptions) -> Flow:
    """Return the flow that the options name."""
    return Flow(options.stream_window, options.stream_window_bytes, options.stream_heartbeat)


def _number(headers: Mapping[str, str], name: str, otherwise: int) -> int:
    value = headers.get(name)
    if value is None:
        return otherwise
    if not (value.isascii() and value.isdigit() and len(value) <= _DIGITS and int(value) > 0):
        raise SerializationError(
            f"the header {name} must be a whole number from 1. Send one, or leave it out."
        )
    return int(value)
