"""Declares the consumers of queues: all or none, and none that exists with other settings is changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from catga_core.errors import CatgaError, ConfigurationError
from catga_core.interfaces.durable_transport import QueueDefinition
from catga_core.messages import MessageKind
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import ApiError, NoJetStreamError, call
from catga_nats.jetstream.layout import SLOTS, UNORDERED, Layout, consumer_name, token
from catga_nats.jetstream.streams import consumer_config, differences, nanoseconds

QUEUE_KEY = "catga-queue"
"""In the metadata of a consumer: the name of its queue."""

_MAX_ACK_PENDING = 100_000
"""Messages that wait for another attempt count too, so that the server's default of 1,000 would stop a queue."""


class ConsumerName(msgspec.Struct, frozen=True):
    """One consumer of a queue.

    Args:
        stream: Its stream.
        name: Its name.
        slot: `any`, a priority, or `g` and the number of a group.
    """

    stream: str
    name: str
    slot: str

    @property
    def ordered(self) -> bool:
        """Whether its messages have keys."""
        return self.slot.startswith("g") and self.slot[1:].isdigit()


def consumers_of(layout: Layout, queue: QueueDefinition) -> list[ConsumerName]:
    """Return the consumers of a queue: those without keys first, by priority."""
    command = queue.kind is MessageKind.COMMAND
    stream = layout.commands_stream if command else layout.events_stream
    slots = [*SLOTS.values()] if command else [UNORDERED]
    slots += [f"g{each}" for each in range(layout.groups)]
    begin = consumer_name(queue.name)
    return [ConsumerName(stream, f"{begin}-{slot}", slot) for slot in slots]


def parked_consumer(
    layout: Layout, queue: QueueDefinition, key: str, group: int
) -> tuple[ConsumerName, dict[str, Any]]:
    """Return the consumer of what was parked of a key, and its configuration.

    Args:
        layout: The names.
        queue: The queue.
        key: The key.
        group: The group that the key belongs to.
    """
    name = f"{consumer_name(queue.name)}-parked-{token(key)}"
    consumer = ConsumerName(layout.parked_stream, name, f"g{group}")
    # One at a time: a message that waits for another attempt holds up those behind it.
    config = {**_config(consumer, queue), "max_ack_pending": 1}
    return consumer, {**config, "filter_subject": layout.parked_subject(queue.name, key)}


async def declare_consumers(
    connection: NatsConnection, layout: Layout, queues: Sequence[QueueDefinition]
) -> tuple[list[QueueDefinition], list[str]]:
    """Create the consumers that do not exist; where that fails, none stays behind.

    A consumer that exists takes the messages that a queue has got since: only what it takes grows, no setting is changed. A queue
    that has no messages yet gets no consumers, since without a filter they would take every message.

    Args:
        connection: The connection.
        layout: The names.
        queues: The queues.

    Returns:
        The queues that have consumers, and the consumers that were created.

    Raises:
        ConfigurationError: One exists with other settings, or cannot be created.
        CatgaError: The connection fails.
    """
    todo: list[tuple[ConsumerName, dict[str, Any], str]] = []
    problems: list[str] = []
    existing: list[QueueDefinition] = []
    for queue in queues:
        wrong: list[str] = []
        complete = True
        for each in consumers_of(layout, queue):
            filters = layout.filters(queue.messages, each.slot, command=queue.kind is MessageKind.COMMAND)
            config = _config(each, queue)
            found = await consumer_config(connection, each.stream, each.name)
            if found is None:
                if filters:
                    metadata = {QUEUE_KEY: queue.name}
                    todo.append(
                        (each, {**config, "filter_subjects": filters, "metadata": metadata}, "create")
                    )
                else:
                    complete = False
                continue
            wrong += differences(f"the consumer {each.name} of the queue {queue.name}", config, found)
            # An empty one is no filter.
            known = {*(found.get("filter_subjects") or [found.get("filter_subject", "")])} - {""}
            complete = complete and bool(known or filters)
            if not {*filters} <= known:
                config = {key: value for key, value in found.items() if key != "filter_subject"}
                todo.append((each, {**config, "filter_subjects": sorted({*known, *filters})}, "update"))
        # Its other consumers have the same settings.
        problems += wrong[:1]
        if complete:
            existing.append(queue)
    if problems:
        raise ConfigurationError(problems)
    return existing, await _carry_out(connection, todo)


async def _carry_out(
    connection: NatsConnection, todo: Sequence[tuple[ConsumerName, dict[str, Any], str]]
) -> list[str]:
    created: list[ConsumerName] = []
    for each, config, action in todo:
        try:
            body = {"stream_name": each.stream, "action": action, "config": config}
            try:
                await call(connection, f"CONSUMER.CREATE.{each.stream}.{each.name}", body)
            except ApiError as error:
                # Another replica has created it meanwhile.
                if action != "create" or await consumer_config(connection, each.stream, each.name) is None:
                    text = f"the consumer {each.name} cannot be declared: {error.text}. Nothing was created"
                    raise ConfigurationError(text) from error
            else:
                if action == "create":
                    created.append(each)
        except BaseException:
            for one in reversed(created):
                with suppress(ApiError, NoJetStreamError, CatgaError):
                    await call(connection, f"CONSUMER.DELETE.{one.stream}.{one.name}")
            raise
    return [each.name for each in created]


def _config(consumer: ConsumerName, queue: QueueDefinition) -> dict[str, Any]:
    return {
        "name": consumer.name,
        "durable_name": consumer.name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": nanoseconds(queue.lease),
        # The framework bounds attempts: it writes the dead letter, then ends the message. At a bound of the server, the message
        # would stay in the stream without being delivered.
        "max_deliver": -1,
        "max_ack_pending": _MAX_ACK_PENDING,
        "num_replicas": 0,
    }
