"""The port of rules a message has to keep beyond its types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable
from typing import Generic, TypeVar

import msgspec

M = TypeVar("M")


class ValidationProblem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a message.

    Args:
        field: The path of the field, such as `items[2].quantity`; empty for the whole message.
        message: What is wrong, in one sentence.
    """

    field: str
    message: str


class Validator(ABC, Generic[M]):
    """A rule for one type of message: derive from `Validator[CreateOrder]` and register it with `add_validator`."""

    @abstractmethod
    def validate(self, message: M) -> Iterable[ValidationProblem] | Awaitable[Iterable[ValidationProblem]]:
        """Return every problem found, none for a good message; may be `async`.

        Args:
            message: The message as it will reach its handler.
        """
