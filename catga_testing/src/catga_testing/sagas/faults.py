"""The faults that an exploration injects into a run."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec


class StepFault(StrEnum):
    """How a step, or a compensation, fails."""

    ONCE = "fails once"
    """Its first attempt fails without an effect."""
    LOST = "has its effect, but the answer is lost"
    """Its first attempt has its effect, and fails all the same."""
    FOR_GOOD = "fails for good"
    """Every attempt fails without an effect, with an error that is not retryable."""


class DeliveryFault(StrEnum):
    """What happens to a message on its way."""

    TWICE = "is delivered twice"
    LATE = "is delivered after its retry"
    """The sender gets a timeout and sends again; the first delivery arrives right after the second one."""
    LAST = "is delivered a minute after its retry"


class CrashAt(msgspec.Struct, frozen=True):
    """The process dies right after a change of the journal or of the world.

    Args:
        point: The number of the change, counted over all processes of a run from 1.
        after: What was changed.
    """

    point: int
    after: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"the process crashes after {self.after}"


class CancelAt(msgspec.Struct, frozen=True):
    """The saga is cancelled right after a change of the journal or of the world.

    Args:
        point: As in `CrashAt`.
        after: What was changed.
    """

    point: int
    after: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"the saga is cancelled after {self.after}"


class StepFails(msgspec.Struct, frozen=True):
    """A step or a compensation fails.

    Args:
        message_id: Its message id.
        name: What it is, in words.
        how: How it fails.
    """

    message_id: str
    name: str
    how: StepFault

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.name} {self.how.value}"


class Misdelivered(msgspec.Struct, frozen=True):
    """A command or an event is delivered in another way.

    Args:
        message_id: Its message id.
        name: The name of its class.
        how: In which way.
    """

    message_id: str
    name: str
    how: DeliveryFault

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.name} {self.how.value}"


Fault: TypeAlias = CrashAt | CancelAt | StepFails | Misdelivered


def is_scenario(fault: Fault) -> bool:
    """Return whether a fault starts a separate scenario, in which every point and pair is explored."""
    return isinstance(fault, StepFails) and fault.how is StepFault.FOR_GOOD
