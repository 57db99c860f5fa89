"""What is known about the effect of a failed operation."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What is known about the effect of a failed message or write.

    An error carries it as `details["outcome"]` (its text is part of the wire format), and `CatgaError.outcome` reads it.
    """

    UNKNOWN = "unknown"
    """The write or request may or may not have happened."""
    NOT_SENT = "not_sent"
    """The message never left the process."""
    NOT_STARTED = "not_started"
    """No handler was started."""
    NOT_WRITTEN = "not_written"
    """Nothing was written."""
    ROLLED_BACK = "rolled_back"
    """The handler ran, and its writes were rolled back."""
    UNRECORDED = "unrecorded"
    """The handler's effects are in place, and its result was not recorded."""
    IN_PROGRESS = "in_progress"
    """Another process is handling the same message."""
    DONE_BEFORE = "done_before"
    """The message was handled before, and its recorded result is unreadable."""


_BY_TEXT: Mapping[object, Outcome] = {str(outcome): outcome for outcome in Outcome}


def outcome_in(details: Mapping[str, Any]) -> Outcome | None:
    """Return the outcome recorded in an error's details.

    Args:
        details: The details of a `CatgaError`.

    Returns:
        The outcome, `None` where the details hold none or one of another version.
    """
    text = details.get("outcome")
    return _BY_TEXT.get(text) if isinstance(text, str) else None


def with_outcome(details: Mapping[str, Any] | None, outcome: Outcome | None) -> Mapping[str, Any] | None:
    """Return details that also hold an outcome.

    Args:
        details: The other details, `None` for none.
        outcome: The outcome, `None` to leave the details as they are.

    Returns:
        The details with the key `outcome`.
    """
    if outcome is None:
        return details
    # A plain string, so that details compare and serialize the same on both sides of the wire.
    return {**(details or {}), "outcome": str(outcome)}
