"""Check that a message and its result can be encoded and decoded, when it is registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from catga_core.codecs.annotations import readable
from catga_core.codecs.plan import plan_of
from catga_core.codecs.types import problems_of
from catga_core.descriptions import with_place
from catga_core.messages.types import MessageKind, MessageType


def make_all_readable(classes: Iterable[Any], names: Mapping[str, Any]) -> None:
    """Resolve the annotations of message classes that only the names in scope can resolve.

    Args:
        classes: The classes; they may have been defined in a function.
        names: What is in scope where they are registered.
    """
    for cls in classes:
        readable(cls, names)


def class_problems(cls: type[Any]) -> list[str]:
    """Return why messages of a class cannot be encoded and decoded, in both formats.

    Args:
        cls: The class.
    """
    return list(map(str, plan_of(cls).problems))


def codec_problems(described: MessageType) -> list[str]:
    """Return why a message or its result cannot be encoded and decoded, in both formats.

    Args:
        described: The message's type.
    """
    found = class_problems(described.cls)
    if described.kind is not MessageKind.EVENT:
        what = "each item" if described.kind is MessageKind.STREAM else "the result"
        problems = plan_of(described.result).problems
        if problems:
            place = f"{with_place(described.cls.__name__, described.cls)}, {what}:"
            found += map(str, problems_of(plan_of(described.result).type, place))
    return found
