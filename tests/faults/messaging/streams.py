"""What JetStream has left of a run, asked by another client than Catga's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import nats

_KEEPS_MESSAGES = ("catga_events", "catga_commands", "catga_parked")
_COMMANDS, _SCHEDULES = "catga_commands", "catga.js.schedule.>"
_BUCKET = "KV_catga_queues"
_REMOVED = b"removed"
_HELD = "$KV.catga_queues.held.>"


async def left_in(servers: Sequence[str]) -> Counter[str]:
    """Return how many messages each stream has that are not settled, and how many keys are held.

    A stream drops a message when its last queue has settled it.

    Args:
        servers: The NATS servers.
    """
    client = await nats.connect(list(servers), max_reconnect_attempts=2)
    try:
        jetstream = client.jetstream()
        left: Counter[str] = Counter()
        for name in _KEEPS_MESSAGES:
            with _named(name):
                left[name] = (await jetstream.stream_info(name)).state.messages
        with _named(_BUCKET):
            bucket = await jetstream.stream_info(_BUCKET, subjects_filter=_HELD)
            for each in bucket.state.subjects or {}:
                left["held keys"] += (await jetstream.get_last_msg(_BUCKET, each)).data != _REMOVED
    finally:
        await client.close()
    return +left


@contextmanager
def _named(stream: str) -> Generator[None]:
    """Name the stream that does not answer."""
    try:
        yield
    except TimeoutError:
        msg = f"{stream} does not answer"
        raise TimeoutError(msg) from None


async def unsettled_in(servers: Sequence[str]) -> Counter[str]:
    """Return how many commands wait for their time, or for their consumers.

    Args:
        servers: The NATS servers.
    """
    client = await nats.connect(list(servers), max_reconnect_attempts=2)
    try:
        jetstream = client.jetstream()
        waiting = await jetstream.stream_info(_COMMANDS, subjects_filter=_SCHEDULES)
        left = Counter({"scheduled": len(waiting.state.subjects or {})})
        for each in await jetstream.consumers_info(_COMMANDS):
            left["waiting"] += each.num_pending or 0
            left["unacknowledged"] += each.num_ack_pending or 0
    finally:
        await client.close()
    return +left


async def consumers_in(servers: Sequence[str]) -> list[str]:
    """Return the consumers that have something to do, for a report.

    Args:
        servers: The NATS servers.
    """
    client = await nats.connect(list(servers), max_reconnect_attempts=2)
    try:
        jetstream = client.jetstream()
        return [
            f"{each.name}: {each.num_pending} pending, {each.num_ack_pending} unacknowledged, floor {each.ack_floor}, "
            f"delivered {each.delivered}, {each.num_waiting} requests"
            for name in _KEEPS_MESSAGES
            for each in await jetstream.consumers_info(name)
            if each.num_pending or each.num_ack_pending
        ]
    finally:
        await client.close()
