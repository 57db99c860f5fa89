"""The reasons for which a saga's run in this process ends other than by its code."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from catga_core.errors import CatgaError
from catga_core.interfaces.saga_records import SagaWait


class SagaStop(BaseException):
    """Leaves the code of a saga; why is known to its run. Not an `Exception`, so that the code's own handlers let it pass."""


class BranchStop(BaseException):
    """Leaves a branch of `gather`, because another branch has failed."""


class Suspended(msgspec.Struct, frozen=True):
    """Every branch waits for a time or for an event.

    Args:
        due_at: The first of the times, seconds since the Unix epoch; `None` for none.
        waits: The events.
    """

    due_at: float | None
    waits: tuple[SagaWait, ...]


class HandedBack(msgspec.Struct, frozen=True):
    """This process stops; another one goes on."""


class Lost(msgspec.Struct, frozen=True):
    """Another process may have the saga; nothing of it is written here any more."""


class Parked(msgspec.Struct, frozen=True):
    """The saga cannot go on by itself.

    Args:
        error: Why.
    """

    error: CatgaError


class Interrupted(msgspec.Struct, frozen=True):
    """The saga must be compensated, although its code did not fail.

    Args:
        error: Why.
        cancelled: Whether it was cancelled.
    """

    error: CatgaError
    cancelled: bool


class Restarted(msgspec.Struct, frozen=True):
    """The saga begins again with an empty journal.

    Args:
        data: What it begins with.
    """

    data: bytes


Reason: TypeAlias = Suspended | HandedBack | Lost | Parked | Interrupted | Restarted
