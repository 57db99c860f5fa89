"""`Group`: a part of a queue's keys, while this process owns it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from catga_core.interfaces.durable_transport import KeyFence
from catga_nats.jetstream.lanes import Lanes
from catga_nats.jetstream.received import Delivery, JetMessage

_LEAST_ROOM = 32  # newer messages that are taken while earlier ones are awaited


class Group:
    """Hands out the messages of some keys in order.

    What was delivered and did not arrive here is delivered again when its lease runs out: what a former owner had when it died, and
    what was lost with a connection. Until all of it is here, nothing newer is given: it could be of the same key. How many they are
    is known where a group is taken over; else the server is asked. A timeout cannot decide it: a process may have been
    suspended with unread messages in its socket.

    Args:
        give: Hands out a message.
        left: How many messages the former owner had, as the server counts them.
        last: The last place in the stream that was delivered to the former owner.
        number: The number of the last delivery to it.
        within: Seconds after which leases that are not renewed expire.
        owned_until: Returns the loop's time until which the group is surely this process's.
        on_pause: Called when earlier messages are awaited, so that the server is asked for them.
        fence: What effects are committed with, the same for all consumers of these keys while this process owns them.
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
        on_pause: Callable[[], None],
        fence: KeyFence,
    ) -> None:
        self.fence: KeyFence = fence
        self.lanes: Lanes = Lanes(give)
        self._owned_until = owned_until
        self._on_pause = on_pause
        # `None` where only the server knows.
        self._left: int | None = left
        self._missing = 0
        self._last = last
        self._number = number
        # What the server counted at the last look, and this process, where it was more.
        self._behind: tuple[int, int] | None = None
        self._within = within
        self._seen: set[int] = set()
        self._newer = 0
        self._until = 0.0
        if left:
            self._pause()

    def delivered(self, delivery: Delivery) -> None:
        """Note a delivery, before its message is taken: earlier ones may have been lost, or have gone to a former owner."""
        lost = delivery.number - self._number - 1
        self._number = delivery.number
        if lost <= 0:
            return
        self._left = None
        self._last = max(self._last, delivery.sequence - (delivery.count == 1))
        self._pause()

    def is_owned(self, now: float) -> bool:
        """Return whether no other process can own it now."""
        return now < self._owned_until()

    @property
    def awaited(self) -> int:
        """How many earlier messages are to come before anything newer is given, as far as it is known."""
        if not self.lanes.paused:
            return 0
        return self._missing if self._left is None else max(0, self._left - len(self._seen))

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
        if self._left is not None and len(self._seen) >= self._left:
            self.lanes.resume()

    def compare(self, *, unsettled: int, pending: int, number: int, here: int, shared: bool) -> None:
        """Go on where everything that the server has delivered and not settled is here.

        Of messages that others had before, one may be settled by them still, so that as many here as there are unsettled may not be
        the same ones. Then a lease has to pass, in which everything unsettled comes here.

        Args:
            unsettled: How many messages the server waits for.
            pending: How many it has not delivered yet.
            number: The number of its last delivery.
            here: How many of them are here.
            shared: Whether one of those was delivered before, to another process perhaps.
        """
        behind = (number, self._number) if number < self._number and not pending else None
        if behind is not None and behind == self._behind:
            # Not an answer that a delivery has overtaken: the server was killed, and counts on from what it had kept.
            self._number = number
        self._behind = behind
        if number != self._number:
            # Some are under way.
            return
        self._missing = max(0, unsettled - here)
        late = asyncio.get_running_loop().time() >= self._until
        if not self._missing and (late or not shared):
            self.lanes.resume()

    def _pause(self) -> None:
        self._until = asyncio.get_running_loop().time() + self._within
        if not self.lanes.paused:
            self.lanes.paused = True
            self._missing = self._newer = 0
            self._seen.clear()
            self._on_pause()

    def ended(self, message: JetMessage) -> None:
        """Go on with the next message of a key."""
        self.lanes.ended(message)
