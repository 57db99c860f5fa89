"""What goes wrong: the stable error codes, `CatgaError`, and the errors of a wrong composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """The codes a failed result can carry, each with a fixed answer to "may I try again?".

    A code is part of the wire format: its text never changes. An application may use codes of its own
    beside these; they are not retryable unless the error says so.
    """

    HANDLER_NOT_FOUND = "HANDLER_NOT_FOUND"
    HANDLER_FAILED = "HANDLER_FAILED"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    TIMEOUT = "TIMEOUT"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    RATE_LIMITED = "RATE_LIMITED"
    CONCURRENCY_LIMITED = "CONCURRENCY_LIMITED"
    CONFLICT = "CONFLICT"
    NOT_FOUND = "NOT_FOUND"
    LOCKED = "LOCKED"
    DUPLICATE_IN_PROGRESS = "DUPLICATE_IN_PROGRESS"
    TRANSPORT_FAILED = "TRANSPORT_FAILED"
    PERSISTENCE_FAILED = "PERSISTENCE_FAILED"
    SERIALIZATION_FAILED = "SERIALIZATION_FAILED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


_RETRYABLE: frozenset[str] = frozenset(
    {
        ErrorCode.TIMEOUT,
        ErrorCode.CIRCUIT_OPEN,
        ErrorCode.RATE_LIMITED,
        ErrorCode.CONCURRENCY_LIMITED,
        ErrorCode.CONFLICT,
        ErrorCode.LOCKED,
        ErrorCode.DUPLICATE_IN_PROGRESS,
        ErrorCode.TRANSPORT_FAILED,
        ErrorCode.PERSISTENCE_FAILED,
    }
)


def is_retryable(code: str) -> bool:
    """Tell whether an error with this code may go away by itself.

    Parameters:
        code: one of `ErrorCode`, or a code of the application's own (never retryable by itself).
    """
    return code in _RETRYABLE


class CatgaError(Exception):
    """An outcome that is not a success, with a code that programs may decide by.

    Raise it in a handler to fail the message with a code of your choice; read it from a failed result.
    Over the wire travel code, message, the retryable flag and details, never a traceback.

    Parameters:
        message: one sentence for a person: the thing, the cause and the mend.
        code: a value of `ErrorCode`, or a code of your own.
        retryable: whether trying again may help; `None` takes the code's own flag.
        details: facts for programs; keys are strings, values must be serializable if the error may travel.
    """

    code: str
    message: str
    retryable: bool
    details: Mapping[str, Any]

    def __init__(
        self,
        message: str = "",
        *,
        code: str = ErrorCode.HANDLER_FAILED,
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        # Plain values, so that an error compares, prints and travels alike whatever it was made of.
        self.message = str(message)
        super().__init__(self.message)
        self.code = str(code)
        self.retryable = self.code in _RETRYABLE if retryable is None else bool(retryable)
        self.details = _plain(details)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by the class: a subclass may have a constructor of its own, and attributes beside these.
        return _rebuild, (type(self), self.message), {**self.__dict__, "details": dict(self.details)}


def _plain(details: object) -> dict[str, Any]:
    if details is None:
        return {}
    if not isinstance(details, Mapping):
        # An error is no place to raise another one for.
        return {"details": details}
    given: Mapping[Any, Any] = details  # pyright: ignore[reportUnknownVariableType]
    return {str(name): value for name, value in given.items()}


def _rebuild(cls: type[CatgaError], message: str) -> CatgaError:
    error = cls.__new__(cls)
    CatgaError.__init__(error, message)
    return error


class ConfigurationError(Exception):
    """A composition that cannot work, found before it starts.

    Every problem that was found is listed at once, each naming the thing, the cause and the mend.

    Parameters:
        problems: one text a problem; a single text is one problem.
    """

    problems: tuple[str, ...]

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            text = self.problems[0]
        else:
            listed = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(self.problems, 1))
            text = f"{len(self.problems)} mistakes in the composition:{listed}"
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class ConcurrencyError(CatgaError):
    """A stream is not at the version an append expected; nothing was written.

    Parameters:
        stream_id: the stream.
        expected: the version that was expected, 0 for a stream without events.
        actual: the version it has.
    """

    stream_id: str
    expected: int
    actual: int

    def __init__(self, stream_id: str, expected: int, actual: int) -> None:
        wanted = f"version {expected}" if expected else "no event yet (NO_STREAM)"
        super().__init__(
            f"stream {stream_id!r} was expected to have {wanted}, and is at version {actual}: "
            "load it again and decide anew",
            code=ErrorCode.CONFLICT,
            details={"stream_id": stream_id, "expected": expected, "actual": actual},
        )
        self.stream_id = stream_id
        self.expected = expected
        self.actual = actual

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stream_id, self.expected, self.actual)


class StreamNotFoundError(CatgaError):
    """What was to be loaded has no events, or not so many.

    Parameters:
        stream_id: the stream.
        what: what was asked for, as `Order 'o-17'`.
        why: what there is instead.
    """

    stream_id: str

    def __init__(self, stream_id: str, what: str, why: str) -> None:
        super().__init__(
            f"there is no {what}: {why}", code=ErrorCode.NOT_FOUND, details={"stream_id": stream_id}
        )
        self.stream_id = stream_id


class LeaseLostError(CatgaError):
    """What was leased is no longer the caller's: its time ran out, and another may have it.

    Parameters:
        thing: what was leased, as `the lock 'stock'`.
        reason: what became of it.
    """

    def __init__(self, thing: str, reason: str) -> None:
        super().__init__(
            f"{thing} is no longer yours: {reason}; stop what relied on it",
            code=ErrorCode.LOCKED,
            details={"lost": thing},
        )
