"""The subscriptions of a connection, on whichever client it has; denied ones are requested again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from catga_nats.counters import Counters
from catga_nats.permissions import Permissions
from catga_nats.subscription import Subscription

if TYPE_CHECKING:
    from catga_nats.client import CatgaClient


class Subscriptions:
    """Subscribes, and subscribes again on every later client.

    Args:
        permissions: What the server denies.
        counters: Counts what it denies.
    """

    def __init__(self, permissions: Permissions, counters: Counters) -> None:
        self._permissions = permissions
        self._counters = counters
        self._all: list[Subscription] = []

    async def add(self, client: CatgaClient, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe; the server knows of it when this returns.

        Args:
            client: The connected client.
            subscriptions: What to subscribe to.

        Raises:
            CatgaError: `TRANSPORT_FAILED`: the server refuses one of them.
        """
        for subscription in subscriptions:
            self._all.append(subscription)
            await subscription.attach(client)
        await round_trip(client)
        self._permissions.check_subscriptions(each.subject for each in subscriptions)

    def remove(self, subscription: Subscription) -> None:
        """Do not subscribe to it on a later client."""
        if subscription in self._all:
            self._all.remove(subscription)

    async def attach(self, client: CatgaClient) -> None:
        """Subscribe to everything on a new client."""
        for subscription in self._all:
            await subscription.attach(client)

    async def retry_denied(self, client: CatgaClient) -> None:
        """Request the subscriptions again that the server has refused: permissions may change while it runs."""
        denied = self._permissions.denied_subscriptions
        again = [each for each in self._all if "" in denied or each.subject in denied]
        if not again:
            return
        before = self._counters.permissions_denied
        with suppress(Exception):  # lost meanwhile: the next connection subscribes anyway
            for each in again:
                await each.attach_again(client)
            if await round_trip(client) and self._counters.permissions_denied == before:
                for subject in tuple(denied):
                    self._permissions.subscribed(subject)


async def round_trip(client: CatgaClient | None, timeout: float = 5.0) -> bool:
    """Return when the server has read everything sent so far, or the time is over.

    Args:
        client: The client; `None` and one without a connection are answered at once.
        timeout: Seconds.

    Returns:
        Whether the server has read everything.
    """
    if client is None or not client.is_connected:
        return False
    from nats.errors import Error

    # nats-py's own timeout does not count what it waits for before it has sent its ping.
    with suppress(Error, OSError):
        # nats-py writes its ping past what is still in its buffer: the answer to the first one only tells that
        # the buffer has been written meanwhile, the answer to the second that it has been read.
        async with asyncio.timeout(timeout):
            await client.flush(timeout)  # type: ignore[arg-type]
            await client.flush(timeout)  # type: ignore[arg-type]
            return True
    return False
