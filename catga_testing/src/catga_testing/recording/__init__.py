"""What a test host writes down, and how it knows when all work is done."""

from catga_testing.recording.network import Network, NotSettledError, join_network
from catga_testing.recording.records import (
    EnqueuedCommand,
    HandlerFailure,
    Journal,
    Outcome,
    Published,
    Received,
    Sent,
)

__all__ = [
    "EnqueuedCommand",
    "HandlerFailure",
    "Journal",
    "Network",
    "NotSettledError",
    "Outcome",
    "Published",
    "Received",
    "Sent",
    "join_network",
]
