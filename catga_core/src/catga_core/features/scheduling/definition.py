"""`ScheduleDefinition`: a schedule's name, command, ticks and policies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.features.scheduling.ticks import Ticks, moment_of
from catga_core.messages import Command

CommandOf = Callable[[datetime], Command[Any]]
"""Returns the command of a tick, given its time in the schedule's time zone."""


class OnMissed(StrEnum):
    """What happens to the ticks that were missed while no process ran."""

    ONCE = "once"
    """The last of them is run, late."""
    ALL = "all"
    """Each of them is run, late and in order."""
    NONE = "none"
    """None that is later than `grace_seconds` is run."""


class OnOverlap(StrEnum):
    """What happens at a tick whose predecessor is still being handled or waits to be."""

    ALLOW = "allow"
    """Both are handled at the same time."""
    WAIT = "wait"
    """It is handled after its predecessor."""
    SKIP = "skip"
    """It is left out, with a log line."""


class ScheduleDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule.

    Args:
        name: Its name.
        command: Its command, or what returns the command of a tick.
        ticks: Its times.
        missed: What happens to missed ticks.
        overlap: What happens at a tick whose predecessor is not done.
        grace_seconds: How late a tick may be run with `OnMissed.NONE`.
        work: Names the work of its ticks: schedules of one command with the same work share each tick, `overlap` and `debounce`.
        debounce_seconds: How long a tick waits for a later one in its place; `None` for not at all.
    """

    name: str
    command: Command[Any] | CommandOf
    ticks: Ticks
    missed: OnMissed
    overlap: OnOverlap
    grace_seconds: float
    work: str
    debounce_seconds: float | None = None

    @property
    def key(self) -> str:
        """The name under which its last tick is kept; another one where its times are changed, so that it begins anew."""
        digest = blake2b(self.ticks.text.encode(), digest_size=8).hexdigest()
        return f"schedule:{self.name}:{digest}"

    @property
    def enqueued_key(self) -> str:
        """The name under which the last enqueued tick of the work is kept, for `overlap` and `debounce`."""
        return f"schedule:{self.work}:enqueued"

    def command_of(self, tick: int) -> Command[Any]:
        """Return the command of a tick.

        Raises:
            ConfigurationError: The function returned something else than a command.
        """
        given: Any = self.command
        made: Any = given if is_command(given) else given(moment_of(tick, self.ticks.timezone))
        if not is_command(made):
            msg = f"the schedule {self.name!r} requires a function that returns a command; it returned {type(made).__name__}."
            raise ConfigurationError(msg)
        found: Command[Any] = made
        return found

    def message_id(self, tick: int) -> str:
        """Return the message id of a tick's command, the same in every replica."""
        return f"schedule:{self.work}:{moment_of(tick, UTC).isoformat()}"


def is_command(given: object) -> bool:
    """Return whether something is a command, and neither its class nor a function."""
    return isinstance(given, Command)
