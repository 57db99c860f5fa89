"""`test_host` waits for what is due in queues, and records what was enqueued."""

from __future__ import annotations

import pytest

from catga_core import CatgaContainer, CatgaMediator, Command, Event, EventHandler, add_catga, message
from catga_core.reliability import QueueOptions, add_queues
from catga_testing import NotSettledError, test_host


@message(delivery="at_least_once")
class Placed(Event):
    number: int


class Ship(Command[None]):
    number: int


class Had(list[int]):
    """The numbers that were shipped."""


class Shipping(EventHandler[Placed]):
    def __init__(self, mediator: CatgaMediator) -> None:
        self._mediator = mediator

    async def handle(self, message: Placed) -> None:
        await self._mediator.enqueue(Ship(message.number))


def composed(*, fails: int = 0) -> tuple[CatgaContainer, Had]:
    had, left = Had(), [fails]
    catga = add_catga()
    add_queues(catga, QueueOptions(retry_delay_seconds=0.02, poll_seconds=0.05))

    async def ship(command: Ship) -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("no ship")
        had.append(command.number)

    catga.add_handlers(Shipping, ship)
    return catga, had


async def test_publish_waits_for_what_handlers_enqueue() -> None:
    catga, had = composed(fails=2)

    async with test_host(catga) as host:
        await host.publish(Placed(1))

        assert had == [1]
        [enqueued] = host.enqueued(Ship)
        assert enqueued.message == Ship(1)
        assert [each.message for each in host.published(Placed)] == [Placed(1)]


async def test_scheduled_command_is_recorded_and_not_waited_for() -> None:
    catga, had = composed()

    async with test_host(catga) as host:
        await host.mediator.enqueue(Ship(1), delay=3600, key="k")
        await host.settled()

        [enqueued] = host.enqueued()
        assert (enqueued.delay, enqueued.key) == (3600, "k")
        assert had == []


async def test_what_waits_for_too_long_is_named() -> None:
    catga, _ = composed(fails=1000)

    async with test_host(catga) as host:
        await host.mediator.enqueue(Ship(1))

        with pytest.raises(NotSettledError, match="Ship in command:Ship"):
            await host.settled(within=0.2)


async def test_rolled_back_messages_were_not_published() -> None:
    catga, had = composed()

    async with test_host(catga) as host:
        with pytest.raises(ZeroDivisionError):
            async with catga.unit_of_work():
                await host.mediator.publish(Placed(1))
                await host.mediator.enqueue(Ship(2))
                raise ZeroDivisionError
        async with catga.unit_of_work():
            await host.mediator.publish(Placed(3))
        await host.settled()

        assert [each.message for each in host.published()] == [Placed(3)]
        assert [each.message for each in host.enqueued()] == [Ship(3)]
        assert had == [3]
