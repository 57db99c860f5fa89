"""Several processes work while what they rely on is broken, and models have to explain what they have seen.

`python -m tests.faults.histories --rounds 3 --seconds 8 --place redis --seed 7` (or `nox -s faults`) prints what it
counted, and ends with 1 when a model could not explain a history. The seed repeats what the processes do and the order of the faults.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Sequence

import structlog

from tests.faults.histories.campaign import Count, run
from tests.faults.histories.places import PLACES
from tests.faults.histories.workloads import WORKLOADS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the histories and return the exit code: 0 when every model explains what was seen."""
    parser = argparse.ArgumentParser(
        prog="histories", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each workload (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="seconds of faults in each (%(default)s)")
    parser.add_argument("--place", action="append", choices=sorted(PLACES), help="only here; may be repeated")
    parser.add_argument(
        "--workload", action="append", choices=sorted(WORKLOADS), help="only this one; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier run")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    counts: list[Count] = []
    for workload in WORKLOADS.values():
        for place in workload.places:
            if workload.name in (options.workload or WORKLOADS) and place in (options.place or PLACES):
                going = run(workload, place, seed=seed, rounds=options.rounds, seconds=options.seconds)
                counts.append(asyncio.run(going))
                print(shown(counts[-1]), flush=True)
    broken = sum(len(each.problems) for each in counts)
    print(f"{sum(each.entries for each in counts):,} entries, {broken} that no model explains (seed {seed})")
    return 1 if broken else 0


def shown(count: Count) -> str:
    """Lay out what was counted for one workload in one place."""
    facts = {"entries": count.entries, **count.counts}
    lines = [
        f"{count.workload} in {count.place}, {count.rounds} rounds",
        "  " + ", ".join(f"{name} {number:,}" for name, number in facts.items()),
        "  faults: " + ", ".join(f"{name} {number}" for name, number in sorted(count.faults.items())),
    ]
    return "\n".join([*lines, *(f"  BROKEN {problem}" for problem in count.problems)])


if __name__ == "__main__":
    sys.exit(main())
