"""`Group`: a part of a queue's keys, while this process owns it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from catga_nats.jetstream.lanes import Lanes
from catga_nats.jetstream.received import Delivery, JetMessage

_SETTLES = 1.0  # seconds within which the server delivers again what it may
_LEAST_ROOM = 32  # newer messages that are taken while those of the former owner are awaited


class Group:
    """Hands out the messages of some keys in order.

    What was delivered and did not arrive here is delivered again when its lease runs out: what a former owner had when it died, and
    what was lost with a connection. Until all of it is here, nothing newer is given: it could be of the same key.

    Args:
        give: Hands out a message.
        left: How many messages the former owner had, as the server counts them.
        last: The last place in the stream that was delivered to the former owner.
        number: The number of the last delivery to it.
        within: Seconds after which leases that nobody renews have run out.
        owned_until: Returns the loop's time until which the group is surely this process's.
    """

    def __init__(
        self,
        give: Callable[[JetMessage], None],
        *,
        left: int,
        last: int,
        number: int,
        within: float,
        owned_until: Callable[[], float],
    ) -> None:
        self.lanes: Lanes = Lanes(give)
        self._owned_until = owned_until
        self._left = left
        self._last = last
        self._number = number
        self._within = within
        self._seen: set[int] = set()
        self._newer = 0
        self._until = asyncio.get_running_loop().time() + within
        self.lanes.paused = left > 0

    def delivered(self, delivery: Delivery) -> None:
        """Note a delivery, before its message is taken: earlier ones may have been lost, or have gone to a former owner."""
        lost = delivery.number - self._number - 1
        self._number = delivery.number
        if lost <= 0:
            return
        if not self.lanes.paused:
            self._left, self._newer = 0, 0
            self._seen.clear()
        self._left += lost
        self._last = max(self._last, delivery.sequence - (delivery.count == 1))
        self._until = asyncio.get_running_loop().time() + self._within
        self.lanes.paused = True

    def is_owned(self, now: float) -> bool:
        """Return whether no other process can own it now."""
        return now < self._owned_until()

    @property
    def awaited(self) -> int:
        """How many messages of the former owner are to come before anything newer is given."""
        return max(0, self._left - len(self._seen)) if self.lanes.paused else 0

    def takes_more(self, room: int) -> bool:
        """Return whether more messages are to be requested.

        Args:
            room: How many more may wait.
        """
        if self.lanes.paused:
            return self._newer < _LEAST_ROOM or asyncio.get_running_loop().time() >= self._until
        # One that was given back comes only when it is requested, and all others of its key wait for it.
        return room > 0 or self.lanes.awaits

    def add(self, message: JetMessage) -> None:
        """Take a message."""
        self.lanes.add(message)
        if not self.lanes.paused:
            return
        if message.sequence <= self._last:
            self._seen.add(message.sequence)
        else:
            self._newer += 1
        # The server delivers again before it delivers anew.
        late = message.sequence > self._last and asyncio.get_running_loop().time() >= self._until
        if late or len(self._seen) >= self._left:
            self.lanes.resume()

    def on_time(self, now: float, *, idle: bool) -> None:
        """Go on where nothing of the former owner is left to come: it was settled after all.

        Args:
            now: The loop's time.
            idle: Whether a request waits at the server that brings nothing.
        """
        if self.lanes.paused and now >= self._until + _SETTLES and idle:
            self.lanes.resume()

    def ended(self, message: JetMessage) -> None:
        """Go on with the next message of a key."""
        self.lanes.ended(message)
