"""What the server can tell of queues: commands by their ids, and how many messages wait."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from catga_core.interfaces.durable_transport import QueueDefinition, command_queue
from catga_core.interfaces.queue import (
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueuePage,
    QueueState,
    QueueStats,
)
from catga_core.messages import MessageKind
from catga_nats.connection import NatsConnection
from catga_nats.jetstream import wire
from catga_nats.jetstream.api import (
    CONSUMER_NOT_FOUND,
    MESSAGE_NOT_FOUND,
    ApiError,
    NoJetStreamError,
    call,
)
from catga_nats.jetstream.consumers import QUEUE_KEY, consumers_of
from catga_nats.jetstream.layout import SLOTS, Layout, consumer_name, consumer_prefix, group_of, token
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.state import Bucket, failed, unanswered

_COMMAND = command_queue("")
_PAGE = 100_000  # subjects that the server lists at once


class Progress(NamedTuple):
    """How far a consumer is, as places in its stream.

    Args:
        delivered: The last message that it has delivered.
        settled: The last one up to which all are settled.
    """

    delivered: int
    settled: int


class _Done(msgspec.Struct, array_like=True):
    message: QueuedMessage
    attempts: int
    result: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Done).decode


class Looking:
    """Answers operators.

    Args:
        connection: The connection.
        layout: The names.
        state: The bucket that processes agree in.
        results: The bucket of results.
    """

    def __init__(self, connection: NatsConnection, layout: Layout, state: Bucket, results: Bucket) -> None:
        self._connection = connection
        self._layout = layout
        self._state = state
        self._results = results

    async def keep_result(self, message: JetMessage, result: bytes) -> None:
        """Keep the result of a command."""
        context = message.message.context
        # A read-only mapping has no bytes.
        context = msgspec.structs.replace(context, headers=dict(context.headers))
        known = msgspec.structs.replace(message.message, data=b"", context=context)
        key = _result_key(message.queue, known.context.message_id)
        await self._results.put(key, _encode(_Done(known, message.attempt, result)))

    async def fingerprint_at(self, stream: str, sequence: int) -> str | None:
        """Return the fingerprint of a message that a stream keeps; `None` where it is gone, and empty for an unknown one."""
        found = await self._message(stream, {"seq": sequence})
        if found is None:
            return None
        return wire.fingerprint(_headers(base64.b64decode(found.get("hdrs", ""))))

    async def get(self, queue: str, message_id: str) -> QueueEntry | None:
        """Return a command."""
        if not queue.startswith(_COMMAND):
            return None
        scheduled = await self.scheduled(queue, message_id)
        if scheduled is not None:
            return self._entry(scheduled, QueueState.SCHEDULED)
        waiting = await self.due(queue, message_id)
        if waiting is not None:
            return self._entry(waiting, QueueState.READY)
        kept = await self._results.get(_result_key(queue, message_id))
        if kept is None:
            return None
        done = _decode(kept.value)
        return QueueEntry(queue, done.message, QueueState.DONE, done.attempts, None, 0.0, done.result)

    async def find(self, filter: QueueFilter, after: str | None, limit: int) -> QueuePage:
        """Return commands, a page at a time: those that are due, then those that are scheduled."""
        name = filter.name or "*"
        if filter.queue is not None:
            if not filter.queue.startswith(_COMMAND):
                return QueuePage((), None)
            name = filter.queue.removeprefix(_COMMAND)
        ready = sorted(await self._subjects(f"{self._layout.commands}.>"))
        later = sorted(await self._subjects(f"{self._layout.schedules}.>"))
        subjects = [each for each in (*ready, *later) if name in {"*", self._layout.name_in(each)}]
        entries: list[QueueEntry] = []
        settled: dict[str, int] = {}
        position = 0 if after is None else int(after)
        while position < len(subjects) and len(entries) < limit:
            subject = subjects[position]
            position += 1
            found = await self._last(subject)
            if found is None:
                continue
            state = QueueState.SCHEDULED if subject.startswith(self._layout.schedules) else QueueState.READY
            if state is QueueState.READY:
                slot = subject.rpartition(".")[0]
                if slot not in settled:
                    settled[slot] = (await self.progress(subject)).settled
                if found["seq"] <= settled[slot]:
                    continue
            entry = self._entry(found, state)
            if filter.key in {None, entry.message.key}:
                entries.append(entry)
        return QueuePage(entries, str(position) if position < len(subjects) else None)

    async def stats(
        self, queues: Sequence[QueueDefinition], has_consumers: Callable[[str], bool]
    ) -> Mapping[str, QueueStats]:
        """Return the state of queues, and of those that their services had before and do not have any more.

        Args:
            queues: The queues.
            has_consumers: Whether a queue has consumers; without messages it may have none.
        """
        stats = {each.name: await self._stats(each, has_consumers(each.name)) for each in queues}
        return {**stats, **await self._left_behind(queues)}

    async def _stats(self, queue: QueueDefinition, has_consumers: bool) -> QueueStats:
        ready = leased = scheduled = 0
        oldest: float | None = None
        for consumer in consumers_of(self._layout, queue) if has_consumers else ():
            info = await self._ask(f"CONSUMER.INFO.{consumer.stream}.{consumer.name}", None)
            waiting = info["num_pending"] + info["num_ack_pending"]
            ready += waiting
            leased += info["num_ack_pending"]
            if waiting:
                first = await self._oldest(consumer.stream, info)
                oldest = first if oldest is None or (first is not None and first < oldest) else oldest
        if queue.kind is MessageKind.COMMAND:
            name = queue.messages[0]
            scheduled = len(await self._subjects(f"{self._layout.schedules}.{name}.*"))
        held = await self._state.list([f"held.{consumer_name(queue.name)}.*"])
        return QueueStats(ready, scheduled, leased, 0, len(held), oldest)

    async def _left_behind(self, queues: Sequence[QueueDefinition]) -> dict[str, QueueStats]:
        """Return the queues of renamed and removed event handlers that still have messages."""
        # Queues of other services are theirs to watch.
        services = tuple(
            {each.name.removesuffix(each.handler) for each in queues if each.kind is MessageKind.EVENT}
        )
        stream = self._layout.events_stream
        known = {consumer.name for each in queues for consumer in consumers_of(self._layout, each)}
        found: dict[str, QueueStats] = {}
        # Other services may have thousands: theirs are not asked for.
        begins = tuple(map(consumer_prefix, services))
        for name in sorted(each for each in await self._consumers(stream) - known if each.startswith(begins)):
            info = await self._ask(f"CONSUMER.INFO.{stream}.{name}", None)
            metadata: dict[str, str] = info["config"].get("metadata") or {}
            queue = metadata.get(QUEUE_KEY, "")
            unsettled = info["num_ack_pending"]
            waiting = info["num_pending"] + unsettled
            if not waiting or not queue.startswith(services):
                continue
            oldest = await self._oldest(stream, info)
            before = found.get(queue, QueueStats(0, 0, 0, 0, 0, None))
            times = [each for each in (oldest, before.oldest_at) if each is not None]
            ready, leased = before.ready + waiting, before.leased + unsettled
            found[queue] = QueueStats(ready, 0, leased, 0, 0, min(times, default=None))
        return found

    async def _consumers(self, stream: str) -> set[str]:
        found: set[str] = set()
        while True:
            page = await self._ask(f"CONSUMER.NAMES.{stream}", {"offset": len(found)})
            names: list[str] = page["consumers"] or []
            found.update(names)
            if not names or len(found) >= page["total"]:
                return found

    async def _oldest(self, stream: str, info: Mapping[str, Any]) -> float | None:
        """Return when the first message that a consumer has not settled was stored."""
        start = info["ack_floor"]["stream_seq"] + 1
        config = info["config"]
        times: list[float] = []
        for subject in config.get("filter_subjects") or [config.get("filter_subject", ">")]:
            found = await self._message(stream, {"seq": start, "next_by_subj": subject})
            if found is not None:
                times.append(_seconds(found["time"]))
        return min(times, default=None)

    async def scheduled(self, queue: str, message_id: str) -> dict[str, Any] | None:
        """Return a command whose time has not come, as the server describes it."""
        return await self._last(self._layout.schedule(queue.removeprefix(_COMMAND), message_id).decode())

    async def due(self, queue: str, message_id: str) -> dict[str, Any] | None:
        """Return a command that is due and not settled, as the server describes it."""
        name = queue.removeprefix(_COMMAND)
        found = await self._last(f"{self._layout.commands}.{name}.*.{token(message_id)}")
        if found is None or found["seq"] <= (await self.progress(found["subject"])).settled:
            return None
        return found

    async def progress(self, subject: str) -> Progress:
        """Return how far the consumer of a due command is.

        A server that was killed may have a message again that is settled; it does not deliver it.

        Args:
            subject: The command's subject.
        """
        name, slot = self._layout.name_in(subject), subject.split(".")[-2]
        if slot not in SLOTS.values():
            slot = f"g{group_of(int(slot[1:]), self._layout.groups)}"
        consumer = f"{consumer_name(command_queue(name))}-{slot}"
        try:
            info = await call(self._connection, f"CONSUMER.INFO.{self._layout.commands_stream}.{consumer}")
        except ApiError as error:
            if error.number == CONSUMER_NOT_FOUND:
                # No process handles such commands yet.
                return Progress(0, 0)
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error
        return Progress(info["delivered"]["stream_seq"], info["ack_floor"]["stream_seq"])

    async def _last(self, subject: str) -> dict[str, Any] | None:
        return await self._message(self._layout.commands_stream, {"last_by_subj": subject})

    async def _message(self, stream: str, which: dict[str, Any]) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = (await call(self._connection, f"STREAM.MSG.GET.{stream}", which))[
                "message"
            ]
        except ApiError as error:
            if error.number == MESSAGE_NOT_FOUND:
                return None
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error
        return found

    async def _subjects(self, pattern: str) -> list[str]:
        found: list[str] = []
        while True:
            body = {"subjects_filter": pattern, "offset": len(found)}
            info = await self._ask(f"STREAM.INFO.{self._layout.commands_stream}", body)
            some: dict[str, int] = info["state"].get("subjects") or {}
            found += some
            if len(some) < _PAGE:
                return found

    async def _ask(self, what: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            return await call(self._connection, what, body)
        except ApiError as error:
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error

    def _entry(self, found: Mapping[str, Any], state: QueueState) -> QueueEntry:
        data = base64.b64decode(found.get("data", ""))
        headers = _headers(base64.b64decode(found.get("hdrs", "")))
        name = self._layout.name_in(found["subject"])
        message = wire.decode(headers, data, name=name, place=f"{found['seq']}")
        due = message.due_at if state is QueueState.SCHEDULED else max(message.due_at, message.created_at)
        return QueueEntry(command_queue(message.name), message, state, 0, None, due)


def _headers(block: bytes) -> dict[str, str]:
    lines = block.decode(errors="replace").split("\r\n")[1:]
    return {key: value.strip() for key, mark, value in (line.partition(":") for line in lines) if mark}


def _seconds(time: str) -> float:
    from datetime import datetime

    # The server writes nanoseconds.
    whole, _, rest = time.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{rest or 0}")


def _result_key(queue: str, message_id: str) -> str:
    return f"{consumer_name(queue)}.{token(message_id)}"
