"""Make an error's text and details what every transport carries, so that they are the same on both sides."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec

MOST_TEXT: Final = 32_768
"""How many characters of an error's message are kept."""

_MOST_DEPTH: Final = 32
_LEAST_INT, _MOST_INT = -(1 << 63), (1 << 64) - 1


class _NoForm(Exception):  # noqa: N818 - control flow, never seen outside
    """A value that is neither a text, a number, nor made of such."""


def plain_text(text: str) -> str:
    """Return a text without lone surrogates, and shortened to what is sensible to send.

    Args:
        text: The text of an error.
    """
    if len(text) > MOST_TEXT:
        mark = f"... (shortened, it has {len(text)} characters)"
        text = text[: MOST_TEXT - len(mark)] + mark
    return _valid(text)


def plain_details(details: object) -> dict[str, Any]:
    """Return an error's details as texts, numbers, lists and dicts.

    Decimals, UUIDs and times become their text, members of an enumeration their value, objects with fields a dict. A
    detail with anything else in it is left out, because building an error must not raise another one.

    Args:
        details: What was given; what is no mapping becomes one detail of its own.
    """
    if details is None:
        return {}
    if not isinstance(details, Mapping):
        details = {"details": details}
    made: dict[str, Any] = {}
    given: Mapping[Any, Any] = details  # pyright: ignore[reportUnknownVariableType]
    for name, value in given.items():
        try:
            made[_valid(str(name))] = _plain(value, 0)
        except Exception:  # noqa: BLE001, S112 - a value's own code may raise anything; see the docstring
            continue
    return made


def _valid(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


def _plain(value: Any, depth: int) -> Any:  # noqa: PLR0911, PLR0912, C901 - one return for each kind of value
    if depth > _MOST_DEPTH:
        raise _NoForm
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value, depth + 1)
        case str():
            return plain_text(str(value))
        case int():
            return int(value) if _LEAST_INT <= value <= _MOST_INT else str(int(value))
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case Decimal() | UUID():
            return str(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case Mapping():
            return _mapping(value, depth + 1)
        case list() | tuple() | set() | frozenset():
            return _items(value, depth + 1)
        case msgspec.Struct():
            return _plain(msgspec.structs.asdict(value), depth + 1)
        case _:
            return _object(value, depth + 1)


def _mapping(value: Any, depth: int) -> dict[str, Any]:
    return {_valid(str(name)): _plain(each, depth) for name, each in value.items()}


def _items(value: Any, depth: int) -> list[Any]:
    return [_plain(each, depth) for each in value]


def _object(value: Any, depth: int) -> Any:
    if isinstance(value, type):
        raise _NoForm
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), depth) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        # Pydantic's own models, without importing pydantic.
        return _plain(value.model_dump(mode="json"), depth)
    raise _NoForm
