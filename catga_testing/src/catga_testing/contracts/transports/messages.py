"""The messages that the kit sends."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from catga_core import Command, Event, Query, StreamQuery, message


class Color(Enum):
    """An enumeration, for values."""

    RED = "red"
    GREEN = "green"


class Noted(Event, frozen=True):
    """A base class of events."""

    number: int


class NotedTwice(Noted, frozen=True):
    """An event below it."""


class Noticed(Event, frozen=True):
    """An event that is in a union with it."""

    number: int


class Ask(Command[str], frozen=True):
    """A base class of commands."""


class AskTwice(Ask, frozen=True):
    """A command below it."""


class Part(msgspec.Struct, frozen=True):
    """A nested value."""

    sku: str
    price: Decimal
    tags: list[str] = []


class Whole(msgspec.Struct, frozen=True):
    """A value with a little of everything."""

    parts: list[Part]
    by_name: dict[str, Part]
    made_at: datetime
    color: Color
    raw: bytes
    note: str | None = None


@message(name="catga_contract.echo")
class Echo(Query[str], frozen=True):
    """Asks for its own text."""

    text: str


@message(name="catga_contract.other")
class Other(Query[str], frozen=True):
    """A second type of request."""

    text: str


@message(name="catga_contract.nobody")
class Nobody(Query[str], frozen=True):
    """A request that no peer handles."""


@message(name="catga_contract.forget")
class Forget(Command[None], frozen=True):
    """A command without fields and without a value."""


@message(name="catga_contract.build")
class Build(Command[Whole], frozen=True):
    """Asks for its own whole."""

    whole: Whole


@message(name="catga_contract.pay")
class PayInCents(Command[str], frozen=True):
    """A command before its fields changed."""

    cents: int


@message(name="catga_contract.pay", version=2)
class Pay(Command[str], frozen=True):
    """The command of today."""

    amount: Decimal


@message(name="catga_contract.anything")
class Anything(Command[Any], frozen=True):
    """Carries what has no type."""

    value: Any


@message(name="catga_contract.count_to")
class CountTo(StreamQuery[int], frozen=True):
    """Asks for the numbers from 1."""

    last: int


@message(name="catga_contract.list")
class ListWholes(StreamQuery[Whole], frozen=True):
    """Asks for its own wholes."""

    wholes: list[Whole]


@message(name="catga_contract.unanswered")
class Unanswered(StreamQuery[int], frozen=True):
    """A stream query that no peer handles."""


@message(name="catga_contract.prices")
class PricesInCents(StreamQuery[str], frozen=True):
    """A stream query before its fields changed."""

    cents: int


@message(name="catga_contract.prices", version=2)
class Prices(StreamQuery[str], frozen=True):
    """The stream query of today."""

    amount: Decimal


@message(name="catga_contract.happened")
class Happened(Event, frozen=True):
    """An event."""

    number: int


@message(name="catga_contract.unheard")
class Unheard(Event, frozen=True):
    """An event that no peer listens for."""


@message(name="catga_contract.versioned", version=1)
class OldVersion(Query[str], frozen=True):
    """The first version of a message."""

    text: str


@message(name="catga_contract.versioned", version=2)
class NewVersion(Query[str], frozen=True):
    """The second version of the same message."""

    text: str


@message(name="catga_contract.echo")
class WrongEcho(Query[str], frozen=True):
    """What a peer sends that has another idea of `Echo`."""

    text: int
