"""Errors of sagas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from catga_core.errors.base import FixedCodeError
from catga_core.errors.codes import ErrorCode


class SagaChangedError(FixedCodeError):
    """The code of a running saga does not match its journal; the saga is parked.

    Args:
        transaction_id: The saga.
        recorded: The operation in the journal at this position, `None` without one.
        asked: The operation that the code requested, `None` without one.
        journal: The recorded operations, in their order.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.SAGA_CHANGED

    transaction_id: str
    recorded: str | None
    asked: str | None

    def __init__(
        self, transaction_id: str, recorded: str | None, asked: str | None, journal: Sequence[str] = ()
    ) -> None:
        super().__init__(
            f"The saga {transaction_id!r} recorded {recorded or 'nothing more'} where its code now asks for "
            f"{asked or 'nothing more'}. Run it on the version of the code that recorded it, or register the new code as another "
            "version.",
            details={
                "transaction_id": transaction_id,
                "recorded": recorded,
                "asked": asked,
                "journal": list(journal),
            },
        )
        self.transaction_id = transaction_id
        self.recorded = recorded
        self.asked = asked

    @property
    def journal(self) -> Sequence[str]:
        """The recorded operations, in their order."""
        found: Sequence[str] = self.details.get("journal", ())
        return found


class SagaNotFoundError(FixedCodeError):
    """No saga has this transaction id.

    Args:
        transaction_id: The transaction id.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.NOT_FOUND

    transaction_id: str

    def __init__(self, transaction_id: str) -> None:
        super().__init__(
            f"No saga has the transaction id {transaction_id!r}, or it was pruned. Pass the id that it was started with.",
            details={"transaction_id": transaction_id},
        )
        self.transaction_id = transaction_id


class SagaConflictError(FixedCodeError):
    """A transaction id belongs to a saga of another class, or with other data; nothing was started.

    Args:
        transaction_id: The transaction id.
        reason: What differs, as a clause.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.CONFLICT

    transaction_id: str

    def __init__(self, transaction_id: str, reason: str) -> None:
        super().__init__(
            f"The transaction id {transaction_id!r} is taken: {reason}. Use one id for one transaction.",
            retryable=False,
            details={"transaction_id": transaction_id},
        )
        self.transaction_id = transaction_id


class SagaCancelledError(FixedCodeError):
    """A saga was cancelled.

    Args:
        transaction_id: The saga.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.SAGA_CANCELLED

    transaction_id: str

    def __init__(self, transaction_id: str) -> None:
        super().__init__(
            f"The saga {transaction_id!r} was cancelled.", details={"transaction_id": transaction_id}
        )
        self.transaction_id = transaction_id


class SagaTimeoutError(FixedCodeError):
    """A step, a wait or a whole saga took longer than its timeout.

    Args:
        text: What took longer.
    """

    CODE: ClassVar[ErrorCode] = ErrorCode.TIMEOUT

    def __init__(self, text: str) -> None:
        super().__init__(text)
