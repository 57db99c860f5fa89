"""Whether two messages of one id have equal content."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest

from catga_core import Event, message
from catga_core.messages import message_type
from catga_core.messages.fingerprints import content_digest, fingerprint, same_content


class Place(NamedTuple):
    x: int
    y: int = 0


@dataclasses.dataclass
class Note:
    text: str
    tags: list[str] = dataclasses.field(default_factory=list)


class Size(enum.Enum):
    SMALL = "s"


class FpItem(msgspec.Struct, tag="item", array_like=True):
    sku: str
    count: int = 1


class FpOther(msgspec.Struct, tag="other"):
    sku: str


class FpEvent(Event):
    id: Any
    more: Any = None
    items: dict[str, int] = {}


def equal(one: object, other: object) -> bool:
    return content_digest(FpEvent(one)) == content_digest(FpEvent(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "yy", "z"}, frozenset(["z", "yy", "x"])),
        ([1, 2], (1, 2)),
        (1, 1.0),
        (Place(1), Place(1, 0)),
        (Note("a"), Note("a", [])),
        (FpItem("a"), FpItem("a", 1)),
        ([{"p": FpItem("a")}], [{"p": FpItem("a", 1)}]),
        (Size.SMALL, "s"),
        (msgspec.UNSET, msgspec.UNSET),
    ],
)
def test_equal_content_has_one_digest(one: object, other: object) -> None:
    assert equal(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, True),
        (0, None),
        ("1", 1),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        (Decimal("1.0"), Decimal("1.5")),
        (Place(1), Place(1, 1)),
        (Note("a"), Note("a", ["t"])),
        (FpItem("a"), FpItem("a", 2)),
        (FpItem("a"), FpOther("a")),
        (b"a", b"b"),
    ],
)
def test_other_content_has_another_digest(one: object, other: object) -> None:
    assert not equal(one, other)


def test_field_with_its_default_does_not_count() -> None:
    old = {"id": 1}
    assert content_digest(FpEvent(1)) == content_digest(old)
    assert content_digest(FpEvent(1, items={})) == content_digest(old)
    assert content_digest(FpEvent(1, more=0)) != content_digest(old)


def test_foreign_content_is_encoded_by_the_fallback() -> None:
    foreign = object()

    assert content_digest(foreign) == b""
    one = content_digest(FpEvent([foreign, {"x", "yy", "z"}]), lambda _: b"bytes")
    assert one == content_digest(FpEvent([foreign, {"z", "yy", "x"}], items={}), lambda _: b"bytes")
    assert one != content_digest(FpEvent([foreign, {"z"}]), lambda _: b"bytes")
    assert one != content_digest(FpEvent([foreign, {"x", "yy", "z"}]), lambda _: b"other")

    def failing(_: object) -> bytes:
        raise ValueError

    assert content_digest(foreign, failing) == b""


@message(name="fp.created", version=2)
class FpCreated(Event):
    id: int


def test_versions_are_compared_by_name() -> None:
    described = message_type(FpCreated)
    now = fingerprint(described, FpCreated(1), None)
    before = fingerprint(msgspec.structs.replace(described, version=1), {"number": 1}, None)
    other = fingerprint(msgspec.structs.replace(described, name="fp.other", version=1), FpCreated(1), None)

    assert same_content(before, now)
    assert same_content("", now)
    assert same_content(now, fingerprint(described, FpCreated(1), None))
    assert not same_content(now, fingerprint(described, FpCreated(2), None))
    assert not same_content(other, now)


def test_content_that_cannot_be_encoded_is_compared_by_name() -> None:
    described = message_type(FpEvent)
    unknown: Callable[[object], str] = lambda value: fingerprint(described, FpEvent(value), None)

    assert same_content(unknown(object()), unknown(1))
    assert not same_content(unknown(object()), fingerprint(message_type(FpCreated), FpCreated(1), None))
