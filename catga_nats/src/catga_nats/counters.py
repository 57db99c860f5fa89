"""What has happened on the transport so far; `health().details` shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the start; each outcome of a message that is not plain success has one of its own.

    Args:
        requests_sent: Requests handed to the connection.
        requests_timed_out: Requests without an answer at their deadline.
        requests_unroutable: Of these, without any process that handles them.
        requests_interrupted: Of these, given up because the connection was lost or closed.
        replies_late: Answers that came after their senders had given up.
        events_published: Events handed to the connection.
        requests_received: Requests that arrived and were started.
        requests_refused: Requests that arrived and could not be read.
        requests_expired: Requests that arrived after their deadline and were not started.
        requests_limited: Requests that were over the limit of concurrency, or of the waiting queue.
        requests_failed: Requests whose endpoint raised, or cancelled itself.
        requests_abandoned: Requests that were cancelled, or not started, because of a shutdown.
        replies_delayed: Answers that waited until the server had read earlier ones.
        replies_lost: Answers that could not be sent.
        events_received: Events that arrived and were started.
        events_refused: Events that arrived and could not be read.
        events_failed: Events whose endpoint raised, or cancelled itself.
        events_dropped: Events that arrived and found the waiting queue full, or a shutdown at its time limit.
        streams_asked: Stream queries handed to the connection.
        streams_interrupted: Streams asked from here whose responder or connection was lost, or that sent what it may not.
        streams_received: Stream queries that a handler here began to answer.
        streams_refused: Stream queries, and frames of their askers, that could not be read or broke the protocol.
        streams_expired: Stream queries that arrived after their deadline and were not started.
        streams_limited: Stream queries refused because too many were being answered.
        streams_failed: Streams that failed outside of their handler.
        streams_left: Streams whose asker left or was cancelled before their end.
        streams_abandoned: Streams that were ended because their asker was lost, or because of a shutdown.
        stream_items_sent: Items sent.
        stream_items_received: Items received.
        permissions_denied: How often the server refused a message or a subscription.
        connections_lost: How often the connection was lost.
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
    replies_delayed: int = 0
    replies_lost: int = 0
    events_received: int = 0
    events_refused: int = 0
    events_failed: int = 0
    events_dropped: int = 0
    streams_asked: int = 0
    streams_interrupted: int = 0
    streams_received: int = 0
    streams_refused: int = 0
    streams_expired: int = 0
    streams_limited: int = 0
    streams_failed: int = 0
    streams_left: int = 0
    streams_abandoned: int = 0
    stream_items_sent: int = 0
    stream_items_received: int = 0
    permissions_denied: int = 0
    connections_lost: int = 0

    def details(self) -> dict[str, int]:
        """Return all counts by name."""
        return asdict(self)
