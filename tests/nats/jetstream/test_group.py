"""Nothing is handed out while an earlier message may be under way: what was lost on the way, or was a former owner's."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from catga_core.interfaces.durable_transport import KeyFence
from catga_nats.jetstream.group import Group
from catga_nats.jetstream.received import Delivery


class Opened:
    """A group of one key, and what it gives and asks."""

    def __init__(self, *, left: int = 0, last: int = 0, number: int = 0, within: float = 0.0) -> None:
        self.given: list[int] = []
        self.asked = 0
        self.group = Group(
            lambda each: self.given.append(each.sequence),
            left=left,
            last=last,
            number=number,
            within=within,
            owned_until=lambda: float("inf"),
            on_pause=self._ask,
            fence=KeyFence("group", self._confirm),
        )

    def deliver(self, sequence: int, number: int, *, count: int = 1) -> None:
        self.group.delivered(Delivery(count, sequence, number, 0))
        key = SimpleNamespace(key=f"k{sequence}")
        message: Any = SimpleNamespace(sequence=sequence, gone=False, message=key)
        self.group.add(message)

    def _ask(self) -> None:
        self.asked += 1

    async def _confirm(self) -> bool:
        return True


async def test_messages_are_given_as_they_come() -> None:
    opened = Opened()
    opened.deliver(1, 1)
    opened.deliver(2, 2)
    assert (opened.given, opened.asked) == ([1, 2], 0)


async def test_what_a_former_owner_had_comes_first() -> None:
    opened = Opened(left=2, last=5, number=7)
    opened.deliver(6, 8)
    opened.deliver(3, 9, count=2)
    assert (opened.given, opened.group.awaited) == ([], 1)
    opened.deliver(5, 10, count=2)
    assert (sorted(opened.given), opened.group.awaited) == ([3, 5, 6], 0)


async def test_after_a_lost_delivery_the_server_is_asked() -> None:
    opened = Opened()
    opened.deliver(2, 2)
    await asyncio.sleep(0)
    assert (opened.given, opened.asked) == ([], 1)
    # Another one that is delivered again is not the lost one.
    opened.deliver(2, 3, count=2)
    assert opened.given == []
    opened.group.compare(pending=0, unsettled=2, number=3, here=1, shared=False)
    assert (opened.given, opened.group.awaited) == ([], 1)
    opened.deliver(1, 4, count=2)
    opened.group.compare(pending=0, unsettled=2, number=4, here=2, shared=False)
    assert (sorted(set(opened.given)), opened.group.awaited) == ([1, 2], 0)


async def test_an_answer_that_is_older_than_a_delivery_tells_nothing() -> None:
    opened = Opened()
    opened.deliver(2, 2)
    opened.group.compare(pending=0, unsettled=1, number=1, here=1, shared=False)
    assert opened.given == []
    opened.group.compare(pending=0, unsettled=1, number=2, here=1, shared=False)
    assert opened.given == [2]


async def test_a_loss_while_a_former_owner_is_awaited_is_awaited_too() -> None:
    opened = Opened(left=1, last=5, number=5)
    opened.deliver(7, 7)
    opened.deliver(5, 8, count=2)
    assert opened.given == []
    opened.group.compare(pending=0, unsettled=3, number=8, here=2, shared=False)
    assert opened.given == []
    opened.deliver(6, 9, count=2)
    opened.group.compare(pending=0, unsettled=3, number=9, here=3, shared=False)
    assert sorted(opened.given) == [5, 6, 7]


async def test_a_redelivered_message_that_another_settles_is_not_taken_for_a_missing_one() -> None:
    opened = Opened(left=2, last=5, number=7, within=60.0)
    opened.deliver(3, 8, count=2)
    opened.deliver(6, 9)
    # The former owner's acknowledgement of 3 has arrived late; 5 is still to come.
    opened.group.compare(pending=0, unsettled=2, number=9, here=2, shared=True)
    assert opened.given == []
    opened.deliver(5, 10, count=2)
    assert sorted(opened.given) == [3, 5, 6]


async def test_after_a_lease_nothing_that_others_had_is_awaited() -> None:
    opened = Opened(left=2, last=5, number=7)
    opened.deliver(3, 8, count=2)
    opened.group.compare(pending=0, unsettled=1, number=8, here=1, shared=True)
    assert opened.given == [3]


async def test_a_killed_server_that_has_forgotten_deliveries_is_believed() -> None:
    opened = Opened()
    opened.deliver(4, 5)
    # It delivers again what it has forgotten.
    opened.group.compare(unsettled=1, pending=1, number=3, here=1, shared=False)
    assert opened.given == []
    for given in ([], [4]):
        opened.group.compare(unsettled=1, pending=0, number=3, here=1, shared=False)
        assert opened.given == given
    opened.deliver(5, 4)
    assert opened.given == [4, 5]
