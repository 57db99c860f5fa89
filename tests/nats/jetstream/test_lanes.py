"""Of each key one message at a time, the earliest first; one that was given back keeps its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from catga_nats.jetstream.lanes import Lanes


def message(sequence: int, key: str = "a") -> Any:
    return SimpleNamespace(sequence=sequence, gone=False, message=SimpleNamespace(key=key))


def lanes_of(*messages: Any, paused: bool = False) -> tuple[Lanes, list[Any]]:
    """Return lanes with messages in them, and the list of what they give."""
    given: list[Any] = []
    lanes = Lanes(given.append)
    lanes.paused = paused
    for each in messages:
        lanes.add(each)
    return lanes, given


def test_the_next_of_a_key_waits_for_the_end_of_the_first() -> None:
    first, second, third = message(1), message(2), message(3)
    lanes, given = lanes_of(first, third, second)
    assert given == [first]
    lanes.ended(first)
    assert given == [first, second]
    lanes.ended(second)
    lanes.ended(third)
    assert (given, lanes.size) == ([first, second, third], 0)


def test_one_that_was_given_back_is_awaited() -> None:
    first, second, third = message(1), message(2), message(3)
    lanes, given = lanes_of(first, second, third)
    second.gone = True
    lanes.ended(first)
    assert given == [first]
    again = message(2)
    lanes.add(again)
    assert given == [first, again]
    lanes.ended(again)
    assert (given, lanes.size) == ([first, again, third], 1)


def test_an_earlier_one_that_comes_again_goes_first() -> None:
    second, third = message(2), message(3)
    lanes, given = lanes_of(second, third)
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
    first, second, again = message(1), message(2), message(2)
    lanes, given = lanes_of(first, second)
    second.gone = True
    lanes.add(again)
    assert lanes.size == 2
    lanes.ended(first)
    lanes.ended(again)
    assert (given, lanes.size) == ([first, again], 0)


def test_the_end_of_a_former_delivery_lets_nothing_pass_the_new_one() -> None:
    first, second, again = message(1), message(2), message(1)
    lanes, given = lanes_of(first, second)
    first.gone = True
    lanes.add(again)
    lanes.ended(first)
    assert given == [first, again]
    lanes.ended(again)
    assert (given, lanes.size) == ([first, again, second], 1)


def test_one_that_ends_while_it_waits_is_not_awaited() -> None:
    first, second = message(1), message(2)
    lanes, given = lanes_of(first, second, paused=True)
    lanes.ended(first)
    lanes.resume()
    assert (given, lanes.size) == ([second], 1)


def test_keys_do_not_wait_for_each_other() -> None:
    messages = [message(1, "a"), message(2, "b"), message(3, "a")]
    lanes, given = lanes_of(*messages, paused=True)
    assert given == []
    lanes.resume()
    assert given == messages[:2]
