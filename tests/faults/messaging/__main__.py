"""Publishes messages and enqueues commands while processes and servers are killed, and looks whether each was handled.

`python -m tests.faults.messaging --messages 10000 --store sqlite --store redis --seed 7` (or `nox -s faults -- messaging`) prints
what it counted, and ends with 1 when a promise was broken. The seed repeats what is published and the order of the faults.
Over JetStream schedules run twice: with their last ticks in SQLite, and in Redis.
`--delayed 100000` measures so many commands that are due in one minute; with `--faults`, processes are killed and stand still in it, and so
are NATS servers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Sequence

import structlog

from tests.faults.kills.places import PLACES as STORES
from tests.faults.messaging import campaign, delayed, schedules
from tests.faults.messaging.counts import Count
from tests.faults.messaging.places import PLACES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns and return the exit code: 0 when every promise was kept."""
    parser = argparse.ArgumentParser(
        prog="messaging", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--messages", type=int, default=10_000, help="for each store (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long to publish, and to run schedules (%(default)s)"
    )
    parser.add_argument(
        "--store", action="append", choices=sorted(PLACES), help="only this one; may be repeated"
    )
    parser.add_argument("--only", choices=("messages", "schedules"), help="leave out the other one")
    parser.add_argument("--delayed", type=int, help="measure so many delayed commands, and nothing else")
    parser.add_argument("--faults", action="store_true", help="break things while delayed commands are due")
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier run")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    broken = 0
    for store in options.store or sorted(PLACES):
        for count in _runs(store, options, seed):
            print(count.shown(), flush=True)
            broken += len(count.problems)
    print(f"{broken} promises broken (seed {seed})")
    return 1 if broken else 0


def _runs(store: str, options: argparse.Namespace, seed: int) -> Sequence[Count]:
    if options.delayed:
        faults = seed if options.faults else None
        return [asyncio.run(delayed.run(store, commands=options.delayed, faults=faults))]
    counts: list[Count] = []
    if options.only != "schedules":
        going = campaign.run(store, messages=options.messages, seed=seed, seconds=options.seconds)
        counts.append(asyncio.run(going))
    if options.only != "messages":
        for ticks in ("sqlite",) if store in STORES else ("sqlite", "redis"):
            going = schedules.run(store, seconds=options.seconds, seed=seed, ticks=ticks)
            counts.append(asyncio.run(going))
    return counts


if __name__ == "__main__":
    sys.exit(main())
