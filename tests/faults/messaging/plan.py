"""What is published: the same messages for the same seed, so that a publisher that was killed can go on."""

from __future__ import annotations

import random

import msgspec

LANES = 16
KEYS_OF_LANE = 3

TOLD, MOVED, BOOKED, WORK = "told", "moved", "booked", "work"
_KINDS = (TOLD, MOVED, BOOKED, WORK)
_OF_KINDS = (25, 25, 20, 30)

# What the handler does with it, and of 1,000 messages how many.
_BEHAVIOURS = {"works": 790, "slow": 100, "slower": 10, "flaky": 70, "poison": 20, "refused": 10}


class Planned(msgspec.Struct, frozen=True):
    """One message.

    Args:
        id: Its message id.
        kind: What it is.
        key: Its key, empty for none.
        number: Rises within its key.
        behaviour: What its handler does.
        delay: Seconds until it is due.
        given_up: Whether it is not published again when the first try has failed.
    """

    id: str
    kind: str
    key: str
    number: int
    behaviour: str
    delay: float
    given_up: bool

    @property
    def may_die(self) -> bool:
        """Whether its handler fails in every attempt."""
        return self.behaviour in {"poison", "refused"}


def planned(seed: int, lane: int, number: int) -> Planned:
    """Return a message of a lane; the messages of one lane are published one after the other.

    Args:
        seed: The seed of the run.
        lane: The lane.
        number: The number of the message in the lane.
    """
    chance = random.Random(f"{seed} {lane} {number}")
    [kind] = chance.choices(_KINDS, _OF_KINDS)
    [behaviour] = chance.choices(list(_BEHAVIOURS), list(_BEHAVIOURS.values()))
    key = f"{lane}-{chance.randrange(KEYS_OF_LANE)}"
    delay = 0.0
    if kind == TOLD or (kind == WORK and chance.random() < 0.6):
        key = ""
        delay = chance.uniform(0.05, 2.0) if kind == WORK and chance.random() < 0.4 else 0.0
    given_up = chance.random() < 0.5
    return Planned(f"{lane}.{number}", kind, key, number, behaviour, delay, given_up)
