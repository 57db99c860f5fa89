"""The compensations of a run, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

Compensate: TypeAlias = Callable[..., object]
"""Undoes something: called with a step's result, or with nothing; may be asynchronous, and may return a command to send."""


class Done(msgspec.Struct, frozen=True):
    """An effect that the compensation of a saga undoes.

    Args:
        index: Its place in the journal.
        key: The key of its compensation in the journal.
        name: The name that the code gave it.
        compensate: Undoes it; called without arguments.
    """

    index: int
    key: str
    name: str
    compensate: Callable[[], Any]
