"""The messages that a relay has leased, and until when."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core.clock import Clock
from catga_core.interfaces.outbox import LeasedMessage, OutboxStore


class HeldMessages:
    """The leases of one relay; each counts from before the call that took or renewed it.

    Args:
        clock: The container's clock.
        seconds: Length of a lease.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._leases: dict[int, LeasedMessage] = {}
        self._ends: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def leases(self) -> list[LeasedMessage]:
        """Every lease that is held."""
        return list(self._leases.values())

    def add(self, leased: Sequence[LeasedMessage], *, asked_at: float) -> None:
        """Hold messages.

        Args:
            leased: The messages.
            asked_at: `clock.monotonic()` from before the call that leased them.
        """
        for each in leased:
            self._leases[each.sequence] = each
            self._ends[each.sequence] = asked_at + self._seconds

    def latest(self, leased: LeasedMessage) -> LeasedMessage:
        """Return a message's last renewed lease, or the given one where it is not held."""
        return self._leases.get(leased.sequence, leased)

    def is_held(self, leased: LeasedMessage) -> bool:
        """Return whether no other relay can have a message: its lease was not lost, and is not over."""
        ends = self._ends.get(leased.sequence)
        return ends is not None and self._clock.monotonic() < ends

    def count(self, leased: Sequence[LeasedMessage]) -> int:
        """Return how many of some messages are held."""
        return sum(each.sequence in self._leases for each in leased)

    def forget(self, leased: Sequence[LeasedMessage]) -> None:
        """Hold messages no longer."""
        for each in leased:
            self._leases.pop(each.sequence, None)
            self._ends.pop(each.sequence, None)

    async def renew(self, outbox: OutboxStore) -> None:
        """Renew every lease; forget those that another relay has taken over.

        Args:
            outbox: The store that granted them.

        Raises:
            CatgaError: The store cannot be reached; the leases are still held until their time is over.
        """
        held = self.leases
        if not held:
            return
        asked_at = self._clock.monotonic()
        renewed = {each.sequence: each for each in await outbox.renew(held, lease=self._seconds)}
        for each in held:
            if each.sequence not in self._leases:
                continue
            if each.sequence in renewed:
                self.add([renewed[each.sequence]], asked_at=asked_at)
            else:
                self.forget([each])
