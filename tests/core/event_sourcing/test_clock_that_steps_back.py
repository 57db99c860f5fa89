"""A stream's past, where the wall clock has stepped back: the same for a read and for a state, over every store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from catga_core import Event
from catga_core.event_sourcing import Aggregate, AggregateRepository, add_aggregate, apply
from catga_testing import ManualClock
from catga_testing.clock import START
from tests.core.reliability.support import moved
from tests.stores import Place


class StepAdded(Event):
    number: int


@dataclass
class Steps(Aggregate):
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.raise_event(StepAdded(number))

    @apply
    def _added(self, event: StepAdded) -> None:
        self.numbers.append(event.number)


class Stepping(ManualClock):
    """A clock that can be set to an earlier time."""

    offset = 0.0

    def time(self) -> float:
        return super().time() + self.offset


async def test_read_and_state_agree_on_the_past_when_the_clock_steps_back(place: Place) -> None:
    clock = Stepping()
    catga = place.container()
    add_aggregate(catga, Steps)
    async with moved(catga, clock) as app:
        steps = app.get(AggregateRepository[Steps])
        for number, offset in enumerate((0, 100, -3600, -1800, 50, 200), 1):
            clock.offset = offset
            await steps.update("1", partial(Steps.add, number=number), create=number == 1)
        for seconds in (-3600, -1, 0, 49, 50, 100, 199, 200, 1000):
            time = START + timedelta(seconds=seconds)
            read = [each.event.number async for each in app.event_store.read("steps-1", to_time=time)]
            state = await steps.state_at("1", time)
            assert read == state.numbers == list(range(1, len(read) + 1))
