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
        attempts: Number of times that a request is sent at most.
        timeout: Seconds to wait for each response; `None` waits until it comes.
        pause: Seconds between the first two attempts, doubled each time up to one second.
        decision: Seconds to wait for the end of an order's saga, which goes on after them.
    """

    attempts: int
    timeout: float | None
    pause: float
    decision: float = 30.0


# In one process no response is lost, so a slow one is not asked for again.
IN_PROCESS = Patience(attempts=4, timeout=None, pause=0.05)
# Between the services of one order: short, so that the loss of a replica costs an order about a second.
BETWEEN_SERVICES = Patience(attempts=4, timeout=1.0, pause=0.05)
# At the edge: long enough for a server to restart and for every service to reconnect.
AT_THE_EDGE = Patience(attempts=10, timeout=3.0, pause=0.1)


class Caller:
    """Sends a request again, with the same message id, while the failure is one that may pass.

    That nobody handles it is told at once and is final for most programs. Here each module is known to have a service, so
    nobody is there only while that one is started again.

    A request that timed out may have been handled all the same: only its answer was lost. So whoever handles it
    must give the same answer to the same request, and every module here does.

    Args:
        mediator: Sends the requests.
        patience: How long to keep asking.
    """

    def __init__(self, mediator: CatgaMediator, patience: Patience) -> None:
        self._mediator = mediator
        self._patience = patience
        self.sent_again = 0
        self.found_nobody = asyncio.Event()

    async def ask(self, request: Request[R], *, message_id: str | None = None) -> CatgaResult[R]:
        """Return the first answer, or the last failure."""
        patience = self._patience
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
