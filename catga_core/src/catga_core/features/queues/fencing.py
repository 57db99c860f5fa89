"""Rejects commits of a former owner of a message, within the transaction of the storage."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from catga_core.errors import LeaseLostError
from catga_core.features.queues.attempt import Attempt
from catga_core.interfaces.durable_transport import DurableTransport, KeyFence
from catga_core.interfaces.named_values import NamedValueConflictError, NamedValueStore
from catga_core.interfaces.stores import stores_of
from catga_core.runtime.tasks import background_task
from catga_core.runtime.unit_of_work import BaseUnitOfWork, outside_of_units_of_work
from catga_core.storage_support.queues import lost_message

_PREFIX = "catga-fence:"
_BITS = 53  # of a named value


class Fences:
    """Writes and checks fencing tokens.

    Each process that has become the owner of keys writes a token of its own over the former owner's, in the storage of its units of
    work, before it begins the first one. A commit requires that the token is still there.

    Args:
        transport: Returns the current durable transport.
        values: Returns the current store of named values.
    """

    def __init__(
        self, transport: Callable[[], DurableTransport], values: Callable[[], NamedValueStore]
    ) -> None:
        self._transport = transport
        self._values = values

    def cover(self, storage: object) -> bool:
        """Return whether the tokens are kept in a storage, so that its units of work can require them."""
        stores = stores_of(self._values())
        return stores is not None and stores.storage is storage

    async def token_of(self, fence: KeyFence) -> int | None:
        """Return the token of a fence; write one if there is none.

        Returns:
            The token; `None` where another process owns the keys.

        Raises:
            CatgaError: It is not known to be written, or whose the keys are.
        """
        if fence.token is None:
            async with fence.turn:
                if fence.token is None:
                    fence.token = await background_task(
                        self._write(fence), context=outside_of_units_of_work()
                    )
        return fence.token

    async def _write(self, fence: KeyFence) -> int | None:
        # Committed separately: the following unit of work may take long.
        token = secrets.randbits(_BITS)
        await self._values().set(_PREFIX + fence.name, token)
        # Checked after the write. A later owner overwrites this token. A token that was written too late is
        # never used: it refuses the owner once, which then writes another.
        return token if await fence.confirm() else None

    async def require(self, attempt: Attempt, token: int | None) -> None:
        """Make the ambient unit of work's commit require ownership of a message.

        Args:
            attempt: The message.
            token: What its fence had when the unit of work began; `None` where the storage has no tokens.

        Raises:
            LeaseLostError: Another process has the message.
            NamedValueConflictError: Another token is there. Where writes are collected, the commit raises either.
        """
        received = attempt.received
        await self._transport().require(received)
        if received.fence is not None and token is not None:
            await self._values().compare_and_set(_PREFIX + received.fence.name, token, expected=token)


class CommitFence:
    """The guard of the units of work of one attempt.

    Args:
        attempt: The attempt.
        fences: Writes and requires tokens.

    Attributes:
        refused: Whether the storage had another token at a commit.
    """

    __slots__ = ("_attempt", "_fences", "_token", "refused")

    def __init__(self, attempt: Attempt, fences: Fences) -> None:
        self._attempt = attempt
        self._fences = fences
        self._token: int | None = None
        self.refused: bool = False

    async def before_begin(self, storage: object, /) -> None:
        """Ensure that the storage has a token.

        Raises:
            LeaseLostError: Another process may have the message.
            CatgaError: The token is not known to be written.
        """
        attempt = self._attempt
        fence = attempt.received.fence
        if fence is None or attempt.returned or not self._fences.cover(storage):
            return
        token = await self._fences.token_of(fence)
        attempt.check()
        if token is None:
            attempt.report_lost()
            raise self._lost()
        self._token = token

    async def before_commit(self, unit: BaseUnitOfWork, /) -> None:
        """Require that this process still owns the message.

        Tasks that outlive the handler are not fenced after it has returned.

        Raises:
            LeaseLostError: Another process may have the message, and may have handled later messages of its key.
            NamedValueConflictError: Another process has written its token.
        """
        attempt = self._attempt
        if attempt.returned:
            return
        attempt.check()
        if unit.has_writes:
            await self._fences.require(attempt, self._token if self._fences.cover(unit.storage) else None)

    def error_of(self, error: BaseException, /) -> BaseException:
        """Return `LeaseLostError` for a commit that a newer token rejected, else the error."""
        attempt = self._attempt
        received = attempt.received
        fence = received.fence
        if fence is None:
            lost = lost_message(received.queue, received.message.context.message_id)
            if isinstance(error, LeaseLostError) and error.thing == lost.thing:
                attempt.report_lost()
            return error
        if not isinstance(error, NamedValueConflictError) or error.name != _PREFIX + fence.name:
            return error
        self.refused = True
        if fence.token == self._token:
            # A former owner may have written its token too late. If this process still owns the keys, the next attempt succeeds.
            fence.token = None
        return self._lost()

    def _lost(self) -> LeaseLostError:
        return self._attempt.lost("another process has become the owner of its key")
