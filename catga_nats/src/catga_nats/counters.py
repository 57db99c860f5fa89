"""What has happened on the transport so far; `health().details` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the start; each outcome of a message that is not plain success has one of its own.

    Parameters:
        requests_sent: requests handed to the connection.
        requests_timed_out: requests without an answer at their deadline.
        requests_unroutable: of these, without any process that handles them.
        requests_interrupted: of these, given up because the connection was lost or closed.
        replies_late: answers that came when nobody waited any more.
        events_published: events handed to the connection.
        requests_received: requests that arrived and were started.
        requests_refused: requests that arrived and could not be read.
        requests_expired: requests that arrived after their deadline and were not started.
        requests_limited: requests that were over the limit of concurrency, or of the waiting queue.
        requests_failed: requests whose endpoint raised, or cancelled itself.
        requests_abandoned: requests that were cancelled, or not started, because of a shutdown.
        replies_lost: answers that could not be sent.
        events_received: events that arrived and were started.
        events_refused: events that arrived and could not be read.
        events_failed: events whose endpoint raised, or cancelled itself.
        events_dropped: events that arrived and found the waiting queue full, or a shutdown at its time limit.
        connections_lost: how often the connection was lost.
    """

    requests_sent: int = 0
    requests_timed_out: int = 0
    requests_unroutable: int = 0
    requests_interrupted: int = 0
    replies_late: int = 0
    events_published: int = 0
    requests_received: int = 0
    requests_refused: int = 0
    requests_expired: int = 0
    requests_limited: int = 0
    requests_failed: int = 0
    requests_abandoned: int = 0
    replies_lost: int = 0
    events_received: int = 0
    events_refused: int = 0
    events_failed: int = 0
    events_dropped: int = 0
    connections_lost: int = 0

    def details(self) -> dict[str, int]:
        """Return all counts by name."""
        return asdict(self)
