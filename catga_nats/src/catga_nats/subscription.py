"""One subscription that outlives the connections it is made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient


class Subscription:
    """Listens on a subject.

    Args:
        subject: Where to listen.
        queue: The queue group, empty for none.
        deliver: Takes subject, reply subject, payload and headers of each message, without waiting.
    """

    __slots__ = ("_deliver", "_drained", "_inner", "queue", "subject")

    def __init__(
        self,
        subject: str,
        queue: str,
        deliver: Callable[[bytes, bytes, bytes, Mapping[str, str] | None], None],
    ) -> None:
        self.subject: str = subject
        self.queue: str = queue
        self._deliver = deliver
        self._inner: Any = None
        self._drained = False

    async def attach(self, client: CatgaClient) -> None:
        """Listen on this connection from now on."""
        if not self._drained:
            self._inner = await client.listen(self.subject, self.queue, self._deliver)

    async def attach_again(self, client: CatgaClient) -> None:
        """Ask for a subscription again that the server has refused."""
        if not self._drained and self._inner is not None:
            await client.subscribe_again(self._inner)

    async def drain(self) -> None:
        """Take no more messages; return when all that had arrived were delivered."""
        self._drained = True
        if self._inner is not None:
            # Closed, or lost just now: then nothing more arrives either.
            with suppress(Exception):
                await self._inner.drain()
