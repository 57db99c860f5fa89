"""What comes back: `CatgaResult`, a success with its value or a failure with its error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from catga_core.errors import CatgaError

T = TypeVar("T")
U = TypeVar("U")


class CatgaResult(msgspec.Struct, Generic[T], frozen=True):
    """The outcome of a message: either `Success(value)` or `Failure(error)`.

    Use `match`, or `is_success` with `value` and `error`, or `unwrap()`:

        match await mediator.send(CreateOrder("c-1")):
            case Success(order): ...
            case Failure(error): ...
    """

    @property
    def is_success(self) -> bool:
        """Whether this is a `Success`."""
        raise _abstract()

    @property
    def value(self) -> T:
        """The value of a success.

        Raises:
            CatgaError: The failure's error, when this is a failure.
        """
        raise _abstract()

    @property
    def error(self) -> CatgaError:
        """The error of a failure.

        Raises:
            ValueError: When this is a success.
        """
        raise _abstract()

    def unwrap(self) -> T:
        """Return the value of a success, or raise the failure's error.

        Raises:
            CatgaError: The failure's error.
        """
        return self.value

    def map(self, change: Callable[[T], U]) -> CatgaResult[U]:
        """Return this result with the value of a success changed; a failure stays as it is.

        Args:
            change: Called with the value; what it raises passes through.
        """
        return Success(change(self.value)) if self.is_success else Failure(self.error)

    @staticmethod
    def success(value: U) -> CatgaResult[U]:
        """Make a success.

        Args:
            value: What the message gives; `None` is a value like any other.
        """
        return Success(value)

    @staticmethod
    def failure(
        *,
        code: str,
        message: str = "",
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> CatgaResult[Any]:
        """Make a failure without raising.

        Args:
            code: One of `ErrorCode`, or a code of your own.
            message: One sentence for a person.
            retryable: `None` takes the code's own flag.
            details: Facts for programs.
        """
        return Failure(CatgaError(message, code=code, retryable=retryable, details=details))


class Success(CatgaResult[T], Generic[T], frozen=True):
    """The result of a message that was handled.

    Args:
        value: What its handler returned.
    """

    # A field in the place of a property: it reads alike, and faster.
    value: T  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def is_success(self) -> bool:
        """Always true."""
        return True

    @property
    def error(self) -> NoReturn:
        """Raise, because a success has no error."""
        msg = "a success has no error: look at is_success first, or use match"
        raise ValueError(msg)


class Failure(CatgaResult[T], Generic[T], frozen=True):
    """The result of a message that was not handled as asked.

    Args:
        error: Why, with a stable `code`.
    """

    # As `Success.value`.
    error: CatgaError  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def is_success(self) -> bool:
        """Always false."""
        return False

    @property
    def value(self) -> NoReturn:
        """Raise the failure's error."""
        try:
            self.unwrap()
        finally:
            del self

    def unwrap(self) -> NoReturn:
        """Raise the failure's error."""
        error = self.error
        try:
            raise error
        finally:
            # The error's traceback holds this frame; holding the error in turn would be a cycle.
            del self, error


def _abstract() -> TypeError:
    return TypeError("CatgaResult is made as Success(value) or Failure(error)")
