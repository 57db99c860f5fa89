"""`CatgaError`, the base class of every failure that a result carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from catga_core.errors.codes import ErrorCode, is_retryable
from catga_core.errors.outcome import Outcome, outcome_in, with_outcome
from catga_core.errors.plain import plain_details, plain_text


class CatgaError(Exception):
    """A failure with a stable code that programs can match.

    Raise it in a handler to fail the message with your own code; read it from a failed result. Code, message,
    retryable flag and details travel over the wire, the traceback does not.

    Args:
        message: One sentence for a person: what is wrong, what was received, what was expected, how to fix it. A very long
            one is shortened, and says so.
        code: A value of `ErrorCode`, or your own code.
        retryable: Whether a retry may succeed; `None` uses the code's own flag.
        details: Data for programs: texts, numbers, `None`, lists and dicts. Decimals, UUIDs and times become texts, objects
            with fields dicts; a detail that holds another object is left out. It is the same in process and over a transport.
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
        # Plain values: an error compares, prints and travels the same whatever it was built from.
        self.message = plain_text(str(message))
        super().__init__(self.message)
        self.code = str(code)
        self.retryable = is_retryable(self.code) if retryable is None else bool(retryable)
        self.details = plain_details(details)

    @property
    def outcome(self) -> Outcome | None:
        """What is known about the operation's effect; `None` where the error does not say."""
        return outcome_in(self.details)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A subclass may have another constructor and more attributes, so the constructor is not called again.
        return _rebuild, (type(self), self.message), {**self.__dict__, "details": dict(self.details)}


class FixedCodeError(CatgaError):
    """Base class of errors whose code is fixed by their class.

    Args:
        message: One sentence for a person.
        outcome: What is known about the operation's effect.
        retryable: Whether a retry may succeed; `None` uses the code's own flag.
        details: Further data for programs.
    """

    CODE: ClassVar[ErrorCode]

    def __init__(
        self,
        message: str = "",
        *,
        outcome: Outcome | None = None,
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, code=self.CODE, retryable=retryable, details=with_outcome(details, outcome))


def _rebuild(cls: type[CatgaError], message: str) -> CatgaError:
    error = cls.__new__(cls)
    CatgaError.__init__(error, message)
    return error
