"""Of each key one message at a time, the earliest first; one that was given back keeps its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from catga_nats.jetstream.lanes import Lanes


def message(sequence: int, key: str = "a") -> Any:
    return SimpleNamespace(sequence=sequence, gone=False, message=SimpleNamespace(key=key))


def test_the_next_of_a_key_waits_for_the_end_of_the_first() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    first, second, third = message(1), message(2), message(3)
    for each in (first, third, second):
        lanes.add(each)
    assert given == [first]
    lanes.ended(first)
    assert given == [first, second]
    lanes.ended(second)
    lanes.ended(third)
    assert (given, lanes.size) == ([first, second, third], 0)


def test_one_that_was_given_back_is_awaited() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    first, second, third = message(1), message(2), message(3)
    for each in (first, second, third):
        lanes.add(each)
    second.gone = True
    lanes.ended(first)
    assert given == [first]
    again = message(2)
    lanes.add(again)
    assert given == [first, again]
    lanes.ended(again)
    assert (given, lanes.size) == ([first, again, third], 1)


def test_an_earlier_one_that_comes_again_goes_first() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    second, third = message(2), message(3)
    lanes.add(second)
    lanes.add(third)
    second.gone = True
    # Settled, as this process believes; a killed server has forgotten it.
    first, again = message(1), message(2)
    lanes.add(first)
    assert given == [second]
    lanes.add(again)
    assert given == [second, first]
    lanes.ended(first)
    lanes.ended(again)
    assert (given, lanes.size) == ([second, first, again, third], 1)


def test_one_that_comes_again_before_its_turn_is_there_once() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    first, second, again = message(1), message(2), message(2)
    lanes.add(first)
    lanes.add(second)
    second.gone = True
    lanes.add(again)
    assert lanes.size == 2
    lanes.ended(first)
    lanes.ended(again)
    assert (given, lanes.size) == ([first, again], 0)


def test_the_end_of_a_former_delivery_lets_nothing_pass_the_new_one() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    first, second, again = message(1), message(2), message(1)
    lanes.add(first)
    lanes.add(second)
    first.gone = True
    lanes.add(again)
    lanes.ended(first)
    assert given == [first, again]
    lanes.ended(again)
    assert (given, lanes.size) == ([first, again, second], 1)


def test_one_that_ends_while_it_waits_is_not_awaited() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    first, second = message(1), message(2)
    lanes.paused = True
    lanes.add(first)
    lanes.add(second)
    lanes.ended(first)
    lanes.resume()
    assert (given, lanes.size) == ([second], 1)


def test_keys_do_not_wait_for_each_other() -> None:
    given: list[Any] = []
    lanes = Lanes(given.append)
    messages = [message(1, "a"), message(2, "b"), message(3, "a")]
    lanes.paused = True
    for each in messages:
        lanes.add(each)
    assert given == []
    lanes.resume()
    assert given == messages[:2]
