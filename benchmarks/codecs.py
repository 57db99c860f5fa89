"""What the check of values costs beside encoding: `python -m benchmarks.codecs`."""

from __future__ import annotations

import datetime as dt
import timeit
from collections.abc import Callable
from decimal import Decimal

import msgspec

from catga_core import Event
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serialization import msgpack_serializer

_ROUNDS = 9
_CALLS = 50_000


class Small(Event):
    """Two scalar fields."""

    name: str
    number: int


class Large(Event):
    """What an order's event looks like."""

    order_id: str
    amount: Decimal
    quantity: int
    at: dt.datetime
    paid: bool
    note: str | None = None
    tags: list[str] = msgspec.field(default_factory=list)


def nanoseconds(call: Callable[[], object]) -> float:
    """Return what one call takes, at best."""
    return min(timeit.repeat(call, number=_CALLS, repeat=_ROUNDS)) / _CALLS * 1e9


def main() -> None:
    """Print a row for each event."""
    serializer = msgpack_serializer()
    now = dt.datetime.now(dt.UTC)
    events = (Small("a", 1), Large("o-1", Decimal("12.50"), 2, now, paid=True, tags=["a", "b"]))
    print("| event | encode | check and encode | decode |")
    print("|---|---|---|---|")
    for event in events:
        exact, decode = exact_encoder(serializer, type(event)), serializer.decoder(type(event))
        data = exact(event)
        before = nanoseconds(lambda event=event: serializer.encode(event))  # type: ignore[misc]  # bound now
        after = nanoseconds(lambda exact=exact, event=event: exact(event))  # type: ignore[misc]  # as above
        read = nanoseconds(lambda decode=decode, data=data: decode(data))  # type: ignore[misc]  # as above
        print(f"| {type(event).__name__} | {before:.0f} ns | {after:.0f} ns | {read:.0f} ns |")


if __name__ == "__main__":
    main()
