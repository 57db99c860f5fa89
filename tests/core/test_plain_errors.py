"""An error's text and details are the same in process and over a transport."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import math
import pickle
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest

from catga_core import CatgaError
from catga_core.errors.plain import MOST_TEXT


class Word(enum.StrEnum):
    A = "a"


class Line(msgspec.Struct):
    sku: str
    price: Decimal


@dataclasses.dataclass
class Data:
    when: dt.date


class Model(pydantic.BaseModel):
    x: Decimal


class Raising:
    def __str__(self) -> str:
        raise ZeroDivisionError


def recursive() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (1 << 63, 1 << 63),
        (1 << 64, str(1 << 64)),
        (1.5, 1.5),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("é", "é"),
        ("\ud800", "?"),
        (Word.A, "a"),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "2026-01-01T00:00:00+00:00"),
        (dt.date(2026, 1, 1), "2026-01-01"),
        (dt.timedelta(seconds=90), 90.0),
        ((1, [2, {3}]), [1, [2, [3]]]),
        ({1: {"a": (Decimal(1),)}}, {"1": {"a": ["1"]}}),
        (Line("a", Decimal(2)), {"sku": "a", "price": "2"}),
        (Data(dt.date(2026, 1, 1)), {"when": "2026-01-01"}),
        (Model(x=Decimal("1.0")), {"x": "1.0"}),
    ],
)
def test_detail_becomes_plain(value: Any, plain: Any) -> None:
    error = CatgaError("no", details={"it": value})

    assert error.details == {"it": plain}
    assert type(error.details["it"]) is type(plain)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(error.details)) == error.details
    assert msgspec.json.decode(msgspec.json.encode(error.details)) == error.details


@pytest.mark.parametrize("value", [object(), [object()], Line, Raising(), b"x", recursive(), len])
def test_detail_without_a_plain_form_is_left_out(value: Any) -> None:
    assert CatgaError("no", details={"it": value, "sku": "a-1"}).details == {"sku": "a-1"}


def test_long_message_is_shortened_once() -> None:
    error = CatgaError("x" * 3_000_000)

    assert len(error.message) == MOST_TEXT
    assert error.message.endswith("... (shortened, it has 3000000 characters)")
    assert str(error).endswith(error.message)
    for again in (CatgaError(error.message), copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert again.message == error.message
