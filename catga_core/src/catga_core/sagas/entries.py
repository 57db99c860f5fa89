"""The entries of a saga's journal."""

from __future__ import annotations

from typing import ClassVar, Final, TypeAlias

import msgspec

from catga_core.errors import SerializationError
from catga_core.sagas.failures import Error
from catga_core.sagas.values import Value


class Operation(msgspec.Struct, frozen=True, array_like=True, kw_only=False):
    """What the code of a saga asked its context for, in the order of its branch.

    Args:
        branch: Where in the code: empty for `execute` itself, `0.1/` for the second branch of its first `gather`.
        name: The name that the code gave it.
    """

    KIND: ClassVar[str] = "operation"

    branch: str
    name: str

    @property
    def shown(self) -> str:
        """The operation, for errors."""
        return shown_operation(self.KIND, self.name, self.branch)


class Step(Operation, frozen=True, array_like=True, tag="s"):
    """A step that succeeded.

    Args:
        value: What it returned.
        attempts: How many attempts were made in the process that completed it.
        began_at: Seconds since the Unix epoch.
        ended_at: Seconds since the Unix epoch.
    """

    KIND: ClassVar[str] = "step"

    value: Value
    attempts: int
    began_at: float
    ended_at: float


class StepFailed(Operation, frozen=True, array_like=True, tag="f"):
    """A step that failed for good.

    Args:
        error: What it failed with.
        attempts: As in `Step`.
        began_at: As in `Step`.
        ended_at: As in `Step`.
    """

    KIND: ClassVar[str] = "step"

    error: Error
    attempts: int
    began_at: float
    ended_at: float


class Time(Operation, frozen=True, array_like=True, tag="t"):
    """The time that the code was given.

    Args:
        at: Seconds since the Unix epoch.
    """

    KIND: ClassVar[str] = "time"

    at: float


class Sleep(Operation, frozen=True, array_like=True, tag="z"):
    """A pause.

    Args:
        until: Its end, seconds since the Unix epoch.
    """

    KIND: ClassVar[str] = "sleep"

    until: float


class Wait(Operation, frozen=True, array_like=True, tag="w"):
    """The begin of a wait for an event, or for the end of a child saga.

    Args:
        topic: What is waited for.
        until: When it fails, seconds since the Unix epoch; `None` for no limit.
    """

    KIND: ClassVar[str] = "wait"

    topic: str
    until: float | None


class Received(Operation, frozen=True, array_like=True, tag="e"):
    """The end of a wait.

    Args:
        topic: What was waited for.
        position: The position of the signal, `None` for a timeout.
        data: The signal's bytes.
    """

    KIND: ClassVar[str] = "event"

    topic: str
    position: int | None
    data: bytes


COMMIT_POINT: Final = "commit_point"
"""The kind of the mark of a commit point."""


class Mark(Operation, frozen=True, array_like=True, tag="m"):
    """A place that the code has passed: a commit point, a patch, a compensation that belongs to no step.

    Args:
        kind: Which of them.
    """

    KIND: ClassVar[str] = "mark"

    kind: str


class Failing(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """The saga has failed or was cancelled: from here on it is compensated.

    Args:
        error: Why.
        cancelled: Whether it was cancelled.
    """

    error: Error
    cancelled: bool


class Compensated(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A compensation that succeeded.

    Args:
        of: The step, by its key; empty for the saga's own `compensate`.
        attempts: How many attempts were made.
        ended_at: Seconds since the Unix epoch.
    """

    of: str
    attempts: int
    ended_at: float


class CompensationFailed(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A compensation that failed for good.

    Args:
        of: As in `Compensated`.
        error: What it failed with.
        attempts: As in `Compensated`.
        ended_at: As in `Compensated`.
    """

    of: str
    error: Error
    attempts: int
    ended_at: float


class Progress(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """How far the saga has come, by its own account.

    Args:
        fraction: From 0 to 1.
        text: In words.
    """

    fraction: float
    text: str


Entry: TypeAlias = (
    Step
    | StepFailed
    | Time
    | Sleep
    | Wait
    | Received
    | Mark
    | Failing
    | Compensated
    | CompensationFailed
    | Progress
)


def shown_operation(kind: str, name: str, branch: str) -> str:
    """Return an operation as errors show it."""
    place = f" in the branch {branch!r}" if branch else ""
    return f"the {kind} {name!r}{place}" if name else f"the {kind}{place}"


_FORMAT: Final = b"\x01"
"""The first byte of each entry: the version of this format."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def encode_entry(entry: Entry) -> bytes:
    """Return the bytes of an entry."""
    return _FORMAT + _encode(entry)


def decode_entry(data: bytes) -> Entry:
    """Return the entry of some bytes.

    Raises:
        SerializationError: They are damaged, or of a newer version of Catga.
    """
    if data[:1] != _FORMAT:
        text = f"An entry of the journal has the format {data[:1]!r}, and this version of Catga reads {_FORMAT!r}. Upgrade Catga."
        raise SerializationError(text)
    try:
        entry: Entry = _decode(data[1:])
    except msgspec.MsgspecError as error:
        text = f"An entry of the journal cannot be decoded: {error}"
        raise SerializationError(text) from error
    return entry
