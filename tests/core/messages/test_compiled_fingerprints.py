"""Compiled fingerprints are those that `fingerprint` gives."""

from __future__ import annotations

import dataclasses
import enum
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from catga_core import CatgaError, Event
from catga_core.messages import message_type
from catga_core.messages.compiled_fingerprints import fingerprinter
from catga_core.messages.exact import exact_encoder
from catga_core.messages.fingerprints import fingerprint
from catga_core.messages.serialization import msgpack_serializer
from tests.random_types import make_event


class CfSize(enum.Enum):
    SMALL = "s"
    HUGE = 1.0


class CfLine(msgspec.Struct, frozen=True):
    sku: str
    count: int
    price: Decimal


class CfDefaulted(msgspec.Struct, frozen=True, tag="defaulted", array_like=True):
    sku: str
    notes: list[str] = []


class CfNode(msgspec.Struct):
    value: float
    next: CfNode | None = None


@dataclasses.dataclass
class CfPlace:
    x: float
    y: float = 0.0


class CfPlain(Event):
    order_id: str
    lines: list[CfLine]
    by_name: dict[str, CfLine]
    later: CfLine | None


class CfRich(Event, rename="camel"):
    order_id: str
    paid_amount: float
    line: CfDefaulted | None = None
    node: CfNode | None = None
    place: CfPlace | None = None
    size: CfSize = CfSize.SMALL
    marks: set[int] = set()
    extra: str | msgspec.UnsetType = msgspec.UNSET
    anything: Any = None


LINE = CfLine("a", 1, Decimal("1.50"))


@pytest.mark.parametrize(
    "event",
    [
        CfPlain("1", [LINE], {"b": LINE, "a": LINE}, None),
        CfPlain("1", [], {}, LINE),
        CfPlain("\ud800", [], {}, None),
        CfPlain("1", [CfLine("a", 2**70, Decimal(1))], {}, None),
        CfRich("1", 1.0),
        CfRich("1", 1.5, extra="given", anything={"b": 1.0, "a": (2, CfPlace(1.0))}),
        CfRich("1", 0.0, CfDefaulted("a"), CfNode(1.0, CfNode(2.5)), CfPlace(1.0), CfSize.HUGE, {3, 1, 2}),
        CfRich("1", 0.0, CfDefaulted("a", ["b"]), anything=object()),
    ],
)
def test_compiled_fingerprint_is_the_same(event: Event) -> None:
    described, encode = message_type(type(event)), msgpack_serializer().encode

    assert fingerprinter(described, encode)(event) == fingerprint(described, event, encode)
    assert fingerprinter(described, None)(event) == fingerprint(described, event, None)


@pytest.mark.parametrize("seed", range(300))
def test_compiled_fingerprint_of_random_types_is_the_same(seed: int) -> None:
    rng = Random(seed)
    cls, make = make_event(rng)
    serializer = msgpack_serializer()
    described = message_type(cls)
    try:
        encode = exact_encoder(serializer, cls)
    except CatgaError:
        return
    of = fingerprinter(described, serializer.encode)
    for _ in range(10):
        event = make(rng)
        try:
            encode(event)
        except CatgaError:
            # It is never fingerprinted.
            continue
        assert of(event) == fingerprint(described, event, serializer.encode), event
