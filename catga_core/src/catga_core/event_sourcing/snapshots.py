"""`Snapshots`: keeps the states of streams by a policy, and gives the newest that still fits."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Any, Generic, TypeVar

import msgspec

from catga_core.clock import Clock, SystemClock
from catga_core.errors import CatgaError, ConfigurationError
from catga_core.event_sourcing.folds import Fold, StateShape
from catga_core.event_sourcing.policies import SinceSnapshot, SnapshotPolicy
from catga_core.event_sourcing.progress import Progress
from catga_core.interfaces.snapshots import Snapshot, SnapshotStore
from catga_core.log import SNAPSHOT_FAILED, SNAPSHOT_IGNORED, logger, traceback_of
from catga_core.messages.exact import exact_encoder
from catga_core.messages.serialization import msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.option_checks import is_whole_number, shown_number

S = TypeVar("S")

_MICROSECONDS = 1_000_000


class SnapshotCounts(msgspec.Struct):
    """What became of the snapshots of one kind of state.

    Args:
        taken: How many were kept.
        used: How many a state was loaded from.
        failed: How many could not be taken or read.
        ignored: How many were read and did not fit, so that the events were replayed instead.
    """

    taken: int = 0
    used: int = 0
    failed: int = 0
    ignored: int = 0


class Snapshots:
    """Where an application's states are kept, and how often.

    A snapshot is taken after a save, in the same unit of work where there is one. It only ever saves time: one that
    cannot be taken or read is logged and counted, and the events are replayed.

    Args:
        store: Keeps them.
        policy: When one is due: `every(100)`, `after(3600)`, `either(...)`, or a function of your own.
        keep: How many of the newest of each stream stay.
        serializer: Makes the bytes; `None` for msgpack.
        clock: What `after` is measured by; `None` for the machine's.

    Raises:
        ConfigurationError: `keep` is below 1, or the policy is not one.
    """

    __slots__ = ("clock", "keep", "policy", "serializer", "store")

    def __init__(
        self,
        store: SnapshotStore,
        policy: SnapshotPolicy,
        *,
        keep: int = 1,
        serializer: Serializer | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_keep(keep)
        check_policy(policy)
        self.store: SnapshotStore = store
        self.policy: SnapshotPolicy = policy
        self.keep: int = keep
        self.serializer: Serializer = serializer or msgpack_serializer()
        self.clock: Clock = clock or SystemClock()


def check_keep(keep: int) -> None:
    """Refuse to keep no snapshot at all.

    Raises:
        ConfigurationError: For less than 1.
    """
    if not is_whole_number(keep) or keep < 1:
        msg = f"keep={shown_number(keep)} would keep no snapshot: give 1 or more, or leave the snapshots out"
        raise ConfigurationError(msg)


def check_policy(policy: object) -> None:
    """Refuse an object that cannot say whether a snapshot is due.

    Raises:
        ConfigurationError: Telling what can be given.
    """
    if not callable(policy):
        msg = f"{policy!r} does not tell when a snapshot is due: give every(100), after(3600), or a function of your own"
        raise ConfigurationError(msg)


class Restored(msgspec.Struct, Generic[S]):
    """A state out of a snapshot.

    Args:
        state: The state.
        progress: How far it is, without the events after it.
    """

    state: S
    progress: Progress


class StateSnapshots(Generic[S]):
    """The snapshots of one kind of state.

    The bytes hold the message id of the last event beside the state: who loads one sees whether that event is still
    where it was, so that a snapshot of events which were never committed is found out.

    Args:
        fold: How the state is made.
        snapshots: Where they are kept, and how often.

    Raises:
        ConfigurationError: When the state cannot be kept as bytes.
    """

    def __init__(self, fold: Fold[S], snapshots: Snapshots) -> None:
        self.counts: SnapshotCounts = SnapshotCounts()
        self._name = fold.name
        self._schema_version = fold.schema_version
        self._snapshots = snapshots
        self._shape: StateShape[S] = fold.shape()
        kept: Any = GenericAlias(tuple, (str, self._shape.type))
        try:
            self._decode: Callable[[bytes], tuple[str, Any]] = snapshots.serializer.decoder(kept)
            self._encode = exact_encoder(snapshots.serializer, kept, f"the state of {fold.name}")
            self._encode(("", self._shape.capture(fold.initial("0"))))
        except CatgaError as cause:
            msg = (
                f"the state of {fold.name} cannot be kept in a snapshot: {cause.message}: use types that the serializer "
                "knows, or give the state its own snapshot() and restore()"
            )
            raise ConfigurationError(msg) from cause

    async def newest(self, id: str, stream_id: str, max_version: int | None) -> Restored[S] | None:
        """Return the newest state that is kept, `None` where none fits.

        Args:
            id: Which one.
            stream_id: Its stream.
            max_version: The highest version wanted, `None` for any.
        """
        serializer = self._snapshots.serializer
        try:
            found = await self._snapshots.store.load(
                stream_id, self._name, schema_version=self._schema_version, max_version=max_version
            )
            if found is None:
                return None
            if found.format != serializer.name:
                self._ignored(
                    stream_id, found.version, f"it was made by {found.format}, not by {serializer.name}"
                )
                return None
            last_id, value = self._decode(found.data)
            state = self._shape.restore(id, value)
        except Exception as error:  # noqa: BLE001 - the events are there, whatever is wrong with the snapshot
            self._failed("read", stream_id, error)
            return None
        return Restored(state, Progress(found.version, last_id, found.version, found.taken_at))

    async def discard(self, stream_id: str, version: int) -> None:
        """Remove the snapshots of a stream, because the newest is of events that are not in it.

        It would stay the newest, and keep those that fit from being kept, until the stream has come as far.

        Args:
            stream_id: The stream.
            version: The version of the newest one.
        """
        self._ignored(stream_id, version, "its last event is not in the stream at that version")
        try:
            await self._snapshots.store.delete(stream_id, self._name)
        except Exception as error:  # noqa: BLE001 - the next load finds it again
            self._failed("remove", stream_id, error)

    async def consider(self, stream_id: str, state: S, progress: Progress) -> None:
        """Take a snapshot if one is due; whatever goes wrong with it does not reach the caller.

        Args:
            stream_id: The stream.
            state: The state with all its stored events, and no other.
            progress: How far it is.
        """
        snapshots = self._snapshots
        try:
            now = round(snapshots.clock.time() * _MICROSECONDS)
            if progress.since is None:
                progress.since = now
            since = SinceSnapshot(
                progress.version - progress.snapshot_version, (now - progress.since) / _MICROSECONDS
            )
            if not snapshots.policy(since):
                return
            data = self._encode((progress.last_id, self._shape.capture(state)))
            snapshot = Snapshot(
                stream_id,
                progress.version,
                self._name,
                self._schema_version,
                snapshots.serializer.name,
                data,
                now,
            )
            await snapshots.store.save(snapshot, keep=snapshots.keep)
        except Exception as error:  # noqa: BLE001 - what was saved is saved; a snapshot only saves time
            self._failed("take", stream_id, error)
            return
        self.counts.taken += 1
        progress.snapshot_version, progress.since = progress.version, now

    def _ignored(self, stream_id: str, version: int, reason: str) -> None:
        self.counts.ignored += 1
        logger().warning(SNAPSHOT_IGNORED, stream_id=stream_id, version=version, reason=reason)

    def _failed(self, what: str, stream_id: str, error: Exception) -> None:
        self.counts.failed += 1
        logger().warning(
            SNAPSHOT_FAILED,
            attempt=what,
            state=self._name,
            stream_id=stream_id,
            error=type(error).__name__,
            stack=traceback_of(error),
        )
