"""Replays the dead letters of sagas: failed compensations are tried again."""

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
"""Real seconds that a replay waits for the end of the saga."""


class SagaReplayer:
    """Resumes the saga of a dead letter, and waits for its end.

    Args:
        executor: Resumes sagas.
        letters: The store.
        clock: The container's clock.
        longest_wait: Real seconds for the end of the saga.
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
        """Resume the saga of a letter; its end removes the letter, a compensation that fails again updates it."""
        transaction_id = letter.context.message_id
        try:
            await self._executor.resume(transaction_id)
            counted = await self._letters.replaying(letter.id)
            if counted is None:
                return Failure(missing(letter.id))
            result = await self._executor.result(transaction_id, timeout=self._longest_wait)
        except (SagaNotFoundError, LockedError, SagaTimeoutError) as kept:
            # It was pruned, or another process runs it, or it goes on: the letter stays as it is.
            return Failure(kept)
        error = result.error or CatgaError(f"The saga {transaction_id!r} is {result.state.value}.")
        if result.state is SagaState.COMPENSATION_FAILED:
            # The run that failed has written a new letter in its place.
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
        """Refuse a dry run: a saga and its compensations cannot be rolled back."""
        text = f"The dead letter {letter.id!r} cannot have a dry run: the effects of compensations are not rolled back. Replay it."
        return Failure(CatgaError(text, code=ErrorCode.VALIDATION_FAILED))
