"""Replays the dead letters of sagas by retrying failed compensations."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from catga_core.clock import Clock
from catga_core.errors import CatgaError, ErrorCode, LockedError, SagaNotFoundError, SagaTimeoutError
from catga_core.features.dead_letters.replayers import missing
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterStore
from catga_core.interfaces.saga_records import SagaState
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.sagas.executor import SagaExecutor

_LONGEST_WAIT: Final = 60.0
"""The longest wait of a replay for the end of the saga, in real seconds."""


class SagaReplayer:
    """Resumes the saga of a dead letter and waits for its result.

    Args:
        executor: Resumes sagas.
        letters: The store.
        clock: The container's clock.
        longest_wait: The longest wait for the end of the saga, in real seconds.
    """

    def __init__(
        self,
        executor: SagaExecutor,
        letters: DeadLetterStore,
        clock: Clock,
        longest_wait: float = _LONGEST_WAIT,
    ) -> None:
        self._executor = executor
        self._letters = letters
        self._clock = clock
        self._longest_wait = longest_wait

    async def replay(self, letter: DeadLetter, _token: int, /) -> CatgaResult[None]:
        """Resume the saga of a letter: success removes the letter, another failure updates it."""
        transaction_id = letter.context.message_id
        try:
            await self._executor.resume(transaction_id)
            counted = await self._letters.replaying(letter.id)
            if counted is None:
                return Failure(missing(letter.id))
            result = await self._executor.result(transaction_id, timeout=self._longest_wait)
        except (SagaNotFoundError, LockedError, SagaTimeoutError) as kept:
            # The saga was pruned, or is still running here or elsewhere: the letter is unchanged.
            return Failure(kept)
        error = result.error or CatgaError(f"The saga {transaction_id!r} is {result.state.value}.")
        if result.state is SagaState.COMPENSATION_FAILED:
            # The failed run has replaced the letter.
            again = msgspec.structs.replace(
                counted, code=error.code, message=error.message, last_failed_at=self._clock.time()
            )
            await self._letters.add(again)
            return Failure(error)
        if not result.state.is_final:
            return Failure(error)
        await self._letters.remove(letter.id)
        return Success(None)

    async def rehearse(self, letter: DeadLetter, /) -> CatgaResult[Any]:
        """Reject a dry run, because compensations cannot be rolled back."""
        text = f"A dry run of the dead letter {letter.id!r} is not possible: compensations cannot be rolled back. Replay it."
        return Failure(CatgaError(text, code=ErrorCode.VALIDATION_FAILED))
