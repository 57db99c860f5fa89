"""What a test host writes down, and how it knows when all work is done."""

from catga_testing.recording.network import Network, NotSettledError, join_network
from catga_testing.recording.records import HandlerFailure, Journal, Outcome, Published, Received, Sent

__all__ = [
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
