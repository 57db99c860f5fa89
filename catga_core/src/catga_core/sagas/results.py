"""What a saga ended with, and how far it has come."""

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
        branch: The branch of `gather` that it is in, empty for `execute` itself.
        state: Its state.
        attempts: How many attempts were made in the process that ended it.
        began_at: Seconds since the Unix epoch.
        ended_at: Seconds since the Unix epoch.
        error: What it, or its compensation, failed with; `None` where neither did.
    """

    name: str
    branch: str
    state: StepState
    attempts: int
    began_at: float
    ended_at: float
    error: CatgaError | None = None


class SagaResult(msgspec.Struct, Generic[R], frozen=True):
    """What a saga ended with.

    Args:
        transaction_id: The saga.
        state: `COMPLETED`, `COMPENSATED`, `COMPENSATION_FAILED` or `CANCELLED`; another one for a saga that is parked.
        returned: What `execute` returned, where it is completed; read it as `value`.
        error: Why it failed, `None` where it is completed. A failed compensation keeps this error.
        steps: Its steps, in the order in which they ended.
    """

    transaction_id: str
    state: SagaState
    returned: R | None = None
    error: CatgaError | None = None
    steps: Sequence[SagaStep] = ()

    @property
    def is_success(self) -> bool:
        """Whether it is completed."""
        return self.state is SagaState.COMPLETED

    @property
    def value(self) -> R:
        """What `execute` returned.

        Raises:
            CatgaError: The error of a saga that is not completed.
        """
        return self.unwrap()

    def unwrap(self) -> R:
        """Return what `execute` returned, or raise the error.

        Raises:
            CatgaError: The error of a saga that is not completed.
        """
        if self.error is not None:
            raise self.error
        returned: Any = self.returned
        value: R = returned
        return value


class SagaStatus(msgspec.Struct, frozen=True):
    """A saga as it is now.

    Args:
        transaction_id: The saga.
        name: The name of its class.
        version: The version of its class.
        state: Its state.
        steps: Its steps so far, in the order in which they ended.
        waits_until: When it goes on at the latest, seconds since the Unix epoch; `None` where it does not wait for a time.
        cancelling: Whether its cancellation was requested.
        problem: Why it is parked, `None` where it is not. `resume` has it tried again.
        error: Why it failed, `None` where it has not.
        fraction: How far it has come by its own account, from 0 to 1.
        text: How far it has come, in its own words.
        started_at: Seconds since the Unix epoch.
        updated_at: Seconds since the Unix epoch.
        parent: The transaction id of the saga that it is a part of.
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
