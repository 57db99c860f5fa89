"""Runs sagas over three services while processes and servers are killed, and looks whether each ended as it has to.

`python -m tests.faults.sagas --sagas 1000 --store sqlite --store redis --seed 7` (or `nox -s faults -- sagas`) prints what it
counted, and ends with 1 when a promise was broken. The seed repeats the orders and the order of the faults.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Sequence

import structlog

from tests.faults.kills.places import PLACES
from tests.faults.sagas import campaign


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns and return the exit code: 0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="sagas", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sagas", type=int, default=1_000, help="for each store (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long sagas are started, and things break (%(default)s)"
    )
    parser.add_argument(
        "--store", action="append", choices=sorted(PLACES), help="only this one; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier run")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    broken = 0
    for store in options.store or sorted(PLACES):
        going = campaign.run(store, sagas=options.sagas, seed=seed, seconds=options.seconds)
        count = asyncio.run(going)
        print(count.shown(), flush=True)
        broken += len(count.problems)
    print(f"{broken} promises broken (seed {seed})")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
