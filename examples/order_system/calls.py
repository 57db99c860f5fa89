"""Asking another module, which may be in this process or on the other side of a network, until it answers."""

from __future__ import annotations

import asyncio
from typing import TypeVar
from uuid import uuid4

import msgspec

from catga_core import CatgaMediator, CatgaResult, ErrorCode, Request

R = TypeVar("R")

_LONGEST_PAUSE = 1.0


class Patience(msgspec.Struct, frozen=True):
    """How long to keep asking.

    Args:
        attempts: How often the request is sent at most.
        timeout: Seconds to wait for each answer.
        pause: Seconds between the first two attempts, doubled each time up to one second.
    """

    attempts: int
    timeout: float
    pause: float


# Within one order: short, so that the loss of a replica costs an order about a second.
PATIENT = Patience(attempts=4, timeout=1.0, pause=0.05)


class Caller:
    """Sends a request again, with the same message id, while the failure is one that may pass.

    That nobody handles it is told at once and is final for most programs. Here each module is known to have a service, so
    nobody is there only while that one is started again.

    A request that timed out may have been handled all the same: only its answer was lost. So whoever handles it
    must give the same answer to the same request, and every module here does.
    """

    def __init__(self, mediator: CatgaMediator) -> None:
        self._mediator = mediator
        self.sent_again = 0
        self.found_nobody = asyncio.Event()

    async def ask(
        self, request: Request[R], *, message_id: str | None = None, patience: Patience = PATIENT
    ) -> CatgaResult[R]:
        """Return the first answer, or the last failure."""
        message_id = message_id or uuid4().hex
        pause = patience.pause
        for _ in range(patience.attempts - 1):
            result = await self._mediator.send(request, timeout=patience.timeout, message_id=message_id)
            if result.is_success:
                return result
            nobody = result.error.code == ErrorCode.HANDLER_NOT_FOUND
            if not (nobody or result.error.retryable):
                return result
            if nobody:
                self.found_nobody.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.sent_again += 1
        return await self._mediator.send(request, timeout=patience.timeout, message_id=message_id)
