"""`Stage`: the fixed place of each kind of behavior in a pipeline."""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """A pipeline's order, from the outside in; a behavior runs at one of these places.

    Behaviors of one stage keep the order in which they were registered. A stage without behaviors costs nothing.
    """

    TRACE = 1
    """Spans around everything else."""
    LOG = 2
    """One line for each message."""
    METRICS = 3
    """Durations and counts."""
    DEADLINE = 4
    """The time limit of handling."""
    VALIDATE = 5
    """Declared types, constraints and registered validators."""
    RATE_LIMIT = 6
    """How many messages a second."""
    CONCURRENCY = 7
    """How many messages at the same time."""
    CIRCUIT_BREAKER = 8
    """Whether the handler is called at all while it fails."""
    RETRY = 9
    """Further attempts; everything below runs once for each."""
    IDEMPOTENCY = 10
    """Whether the command was handled before."""
    UNIT_OF_WORK = 11
    """The transaction around the handler."""
    INBOX = 12
    """Whether the handler has had this event before."""
    USER = 13
    """An application's behaviors, unless they name another stage."""
    HANDLER = 14
    """The handler itself."""
