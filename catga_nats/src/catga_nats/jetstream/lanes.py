"""Order per key: of each key one message at a time, the earliest first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator

from catga_nats.jetstream.received import JetMessage


class _Lane:
    __slots__ = ("active", "waiting")

    def __init__(self) -> None:
        self.active: JetMessage | None = None
        self.waiting: list[JetMessage] = []


class Lanes:
    """The messages with keys of one consumer.

    Args:
        give: Takes the next message of a key, when no earlier one is unsettled.
    """

    def __init__(self, give: Callable[[JetMessage], None]) -> None:
        self._give = give
        self._lanes: dict[str, _Lane] = {}
        self.paused: bool = False
        self.size: int = 0

    def add(self, message: JetMessage) -> None:
        """Take a message that is not here yet."""
        lane = self._lanes.setdefault(message.message.key or "", _Lane())
        known = len(lane.waiting)
        # One that was given back keeps its place until it comes again.
        lane.waiting = [each for each in lane.waiting if each.sequence != message.sequence]
        self.size += 1 + len(lane.waiting) - known
        insort(lane.waiting, message, key=_sequence)
        active = lane.active
        if (
            active is not None
            and active.gone
            and any(each.sequence == active.sequence for each in lane.waiting)
        ):
            # The one that all later ones wait for has come again; an earlier one may have come again too.
            lane.active = None
            self.size -= 1
        self._next(lane)

    def ended(self, message: JetMessage) -> None:
        """Go on with the next message of a key: this one is settled.

        One that was delivered again since is another one: those behind it wait for that.
        """
        key = message.message.key or ""
        lane = self._lanes.get(key)
        if lane is None:
            return
        if lane.active is message:
            lane.active = None
        elif message in lane.waiting:
            lane.waiting.remove(message)
        else:
            return
        self.size -= 1
        self._next(lane)
        if lane.active is None and not lane.waiting:
            del self._lanes[key]

    @property
    def awaits(self) -> bool:
        """Whether a key waits for a message that was given back and has not come again."""
        return any(each.active is not None and each.active.gone for each in self._lanes.values())

    def resume(self) -> None:
        """Give the first message of each key."""
        self.paused = False
        for lane in tuple(self._lanes.values()):
            self._next(lane)

    def __iter__(self) -> Iterator[JetMessage]:
        """Iterate over every message that is here."""
        for lane in self._lanes.values():
            if lane.active is not None and not lane.active.gone:
                yield lane.active
            yield from lane.waiting

    def _next(self, lane: _Lane) -> None:
        if not self.paused and lane.active is None and lane.waiting:
            lane.active = lane.waiting.pop(0)
            if not lane.active.gone:
                self._give(lane.active)


def _sequence(message: JetMessage) -> int:
    return message.sequence
