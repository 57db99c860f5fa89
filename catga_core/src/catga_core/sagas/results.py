"""The results and the status of sagas."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from catga_core.errors import CatgaError
from catga_core.interfaces.saga_records import SagaState
from catga_core.sagas.journal_entries import JournalEntry

R = TypeVar("R")


class StepState(StrEnum):
    """The state of one step of a saga."""

    COMPLETED = "completed"
    FAILED = "failed"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class SagaStep(msgspec.Struct, frozen=True):
    """One step of a saga.

    Args:
        name: Its name.
        branch: Its branch of `gather`, empty for `execute` itself.
        state: Its state.
        attempts: The number of attempts in the process that completed it.
        began_at: Seconds since the Unix epoch.
        ended_at: Seconds since the Unix epoch.
        error: The error of the step or of its compensation; `None` if neither failed.
    """

    name: str
    branch: str
    state: StepState
    attempts: int
    began_at: float
    ended_at: float
    error: CatgaError | None = None


class SagaResult(msgspec.Struct, Generic[R], frozen=True):
    """The result of a saga.

    Args:
        transaction_id: The saga.
        state: `COMPLETED`, `COMPENSATED`, `COMPENSATION_FAILED` or `CANCELLED`; another state for a parked saga.
        returned: The return value of `execute`, if the saga is completed; read it as `value`.
        error: The error of the saga, `None` if it is completed. A failed compensation does not replace it.
        steps: Its steps, in the order in which they ended.
    """

    transaction_id: str
    state: SagaState
    returned: R | None = None
    error: CatgaError | None = None
    steps: Sequence[SagaStep] = ()

    @property
    def is_success(self) -> bool:
        """Whether the saga is completed."""
        return self.state is SagaState.COMPLETED

    @property
    def value(self) -> R:
        """The return value of `execute`.

        Raises:
            CatgaError: The error of a saga that is not completed.
        """
        return self.unwrap()

    def unwrap(self) -> R:
        """Return the value of a completed saga, or raise its error.

        Raises:
            CatgaError: The error of a saga that is not completed.
        """
        if self.error is not None:
            raise self.error
        returned: Any = self.returned
        value: R = returned
        return value


class SagaStatus(msgspec.Struct, frozen=True):
    """The current state of a saga.

    Args:
        transaction_id: The saga.
        name: The name of its class.
        version: The version of its class.
        state: Its state.
        steps: Its steps so far, in the order in which they ended.
        waits_until: The latest time at which it resumes, seconds since the Unix epoch; `None` if it does not wait for a time.
        cancelling: Whether its cancellation was requested.
        problem: The reason why it is parked, `None` if it is not parked. `resume` retries it.
        error: Its error, `None` if it has not failed.
        fraction: Its reported progress, from 0 to 1.
        text: The description of its reported progress.
        started_at: Seconds since the Unix epoch.
        updated_at: Seconds since the Unix epoch.
        parent: The transaction id of its parent saga.
        journal: Its journal so far.
    """

    transaction_id: str
    name: str
    version: int
    state: SagaState
    steps: Sequence[SagaStep]
    waits_until: float | None
    cancelling: bool
    problem: CatgaError | None
    error: CatgaError | None
    fraction: float
    text: str
    started_at: float
    updated_at: float
    parent: str | None
    journal: Sequence[JournalEntry] = ()
