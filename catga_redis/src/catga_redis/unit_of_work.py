"""A unit of work: everything is collected, and one script checks it all and writes it all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from catga_core.identifiers import new_id
from catga_core.unit_of_work import BaseUnitOfWork
from catga_redis.engine.application import RedisConnection
from catga_redis.engine.refusals import is_refusal, refusal

if TYPE_CHECKING:
    from catga_core.interfaces.event_log import EventRecord
    from catga_core.interfaces.saga_records import SagaRecord
    from catga_redis.storage import RedisStorage


class StagedStream:
    """What is to be appended to one stream, nothing for a guard.

    Args:
        version: The version it has now.
    """

    __slots__ = ("exact", "records", "version")

    def __init__(self, version: int) -> None:
        self.version: int = version
        # Whether it has to have that version at the commit: as soon as one append of the block expects a version.
        self.exact: bool = False
        self.records: list[EventRecord] = []

    def copy(self) -> StagedStream:
        """Return a copy that further appends do not change."""
        made = StagedStream(self.version)
        made.exact = self.exact
        made.records = list(self.records)
        return made


class _Mark(msgspec.Struct, frozen=True):
    """What was collected when a nested block was entered."""

    operations: dict[object, Callable[[], tuple[Any, ...] | None]]
    streams: dict[str, StagedStream]
    appended: int
    inbox: dict[str, Any]
    ended: set[object]
    sagas: dict[str, SagaRecord]
    application: tuple[set[str], set[str]] | None


class RedisUnitOfWork(BaseUnitOfWork):
    """One unit of work of a Redis.

    Args:
        storage: Whose.
    """

    def __init__(self, storage: RedisStorage) -> None:
        super().__init__(storage)
        self._commands = storage.commands
        self._storage = storage
        self._operations: dict[object, Callable[[], tuple[Any, ...] | None]] = {}
        self._id = new_id()
        self._application: RedisConnection | None = None
        self.streams: dict[str, StagedStream] = {}
        # The calls in their order: which stream, and how many events.
        self.appended: list[tuple[str, int]] = []
        # What the inbox is about to note, with each message's fingerprint.
        self.inbox: dict[str, str] = {}
        # What its own operations take out of outbox and queues, and the keys they release.
        self.ended: set[object] = set()
        # What it begins.
        self.sagas: dict[str, SagaRecord] = {}

    @property
    def connection(self) -> RedisConnection:
        """Commands of an application's own for the same script."""
        self.require_open()
        found = self._application
        if found is None:
            found = self._application = RedisConnection(
                self._commands.root, self.stage, clustered=self._storage.clustered
            )
        return found

    @property
    def has_writes(self) -> bool:
        """Whether anything is collected for the commit."""
        return bool(self._operations)

    def stage(self, *operation: Any, key: object = None) -> None:
        """Collect an operation for the commit.

        Args:
            operation: Its name and arguments.
            key: What it replaces an earlier one by, `None` for no other.
        """
        self.require_open()
        self.writing()
        self._operations[object() if key is None else key] = lambda: operation

    def stage_later(self, make: Callable[[], tuple[Any, ...] | None], *, key: object) -> None:
        """Collect an operation that is made of what there is at the commit, once for each key.

        Args:
            make: Returns its name and arguments, `None` for nothing.
            key: What it is known by.
        """
        self.require_open()
        self.writing()
        self._operations.setdefault(key, make)

    def has_records(self, stream_id: str) -> bool:
        """Tell whether events for a stream are collected, not only a guard."""
        staged = self.streams.get(stream_id)
        return staged is not None and bool(staged.records)

    def unstage(self, key: object) -> None:
        """Forget the operation that is known by a key."""
        self.writing()
        self._operations.pop(key, None)

    def _save(self) -> _Mark:
        streams = {name: staged.copy() for name, staged in self.streams.items()}
        return _Mark(
            dict(self._operations),
            streams,
            len(self.appended),
            dict(self.inbox),
            set(self.ended),
            dict(self.sagas),
            None if self._application is None else self._application.save(),
        )

    def _roll_back_to(self, mark: Any) -> None:
        self._operations = mark.operations
        self.streams = mark.streams
        del self.appended[mark.appended :]
        self.inbox = mark.inbox
        self.ended = mark.ended
        self.sagas = mark.sagas
        if self._application is not None:
            self._application.restore(mark.application)

    def _commit(self) -> Awaitable[None] | None:
        operations = [made for make in self._operations.values() if (made := make()) is not None]
        return self._run(operations) if operations else None

    def _roll_back(self) -> Awaitable[None] | None:
        self._operations.clear()
        return None

    async def _run(self, operations: list[tuple[Any, ...]]) -> None:
        answer = await self._commands.commit(self._id, operations)
        if is_refusal(answer):
            raise refusal(answer)
        self._storage.told(name for name, *_ in operations)
