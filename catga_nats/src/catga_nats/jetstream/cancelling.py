"""`Cancelling`: removes commands that no process has been given."""

from __future__ import annotations

from typing import Any

from catga_core.interfaces.durable_transport import command_queue
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import ApiError, NoJetStreamError, call
from catga_nats.jetstream.layout import Layout, consumer_name, token
from catga_nats.jetstream.looking import Looking
from catga_nats.jetstream.state import Bucket, Entry, failed, unanswered

_COMMAND = command_queue("")
_NONE = b"-"  # nothing was cancelled


class Cancelling:
    """Removes commands, and remembers that their ids can be enqueued again.

    Args:
        connection: The connection.
        layout: The names.
        state: The bucket that processes agree in.
        looking: Finds commands.
        window: Seconds for which the server knows an id.
        server_schedules: Whether the server publishes commands whose time has come.
    """

    def __init__(
        self,
        connection: NatsConnection,
        layout: Layout,
        state: Bucket,
        looking: Looking,
        window: float,
        *,
        server_schedules: bool,
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._state = state
        self._looking = looking
        self._ttl = int(window) + 1
        self._server_schedules = server_schedules

    async def cancel(self, queue: str, message_id: str) -> bool:
        """Remove a command that no process has been given; return whether it was removed."""
        if not queue.startswith(_COMMAND):
            return False
        if await self._looking.scheduled(queue, message_id) is not None:
            subject = self._layout.schedule(queue.removeprefix(_COMMAND), message_id).decode()
            if await self._remove(queue, message_id, subject, due=False):
                return True
        # It may have become due just now.
        due = await self._looking.due(queue, message_id)
        # A consumer gives each process what comes next in the stream.
        if due is None or due["seq"] <= (await self._looking.progress(due["subject"])).delivered:
            return False
        return await self._remove(queue, message_id, due["subject"], due=True)

    async def cancelled(self, queue: str, message_id: str) -> int | None:
        """Return which cancellation of an id the server does not know of; `None` for none."""
        return _cancellation(await self._state.get(_key(queue, message_id)))

    async def _remove(self, queue: str, message_id: str, subject: str, *, due: bool) -> bool:
        # Before it is removed, so that the id can be enqueued again in any case: the server still knows it.
        key = _key(queue, message_id)
        while True:
            before = await self._state.get(key)
            last = 0 if before is None else before.revision
            mark = await self._state.put(key, b"", ttl=self._ttl, last=last)
            if mark is not None:
                break
        found = await self._ask(f"STREAM.PURGE.{self._layout.commands_stream}", {"filter": subject})
        # Where a process publishes what is due, it may have done so before it could remove it.
        known = due or self._server_schedules
        if found["purged"] and (known or await self._looking.due(queue, message_id) is None):
            return True
        # Nothing was cancelled: what was true before is true again, unless somebody else has cancelled it meanwhile.
        number = _cancellation(before)
        value = _NONE if number is None else str(number).encode()
        await self._state.put(key, value, ttl=self._ttl, last=mark)
        return False

    async def _ask(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return await call(self._connection, what, body)
        except ApiError as error:
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error


def _cancellation(mark: Entry | None) -> int | None:
    """Return the number of a cancellation: its mark's revision, or what a later mark without a cancellation repeats."""
    if mark is None or mark.value == _NONE:
        return None
    return int(mark.value) if mark.value else mark.revision


def _key(queue: str, message_id: str) -> str:
    return f"cancelled.{consumer_name(queue)}.{token(message_id)}"
