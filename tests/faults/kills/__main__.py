"""Kills an application again and again while it writes, and looks whether all it was promised is kept.

`python -m tests.faults.kills --kills 200 --store sqlite --store redis` (or `nox -s faults`) prints what it counted and
ends with 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Sequence

import structlog

from tests.faults.kills.campaign import Campaign, Count
from tests.faults.kills.places import PLACES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns and return the exit code: 0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--kills", type=int, default=200, help="how often to kill, for each store (%(default)s)"
    )
    parser.add_argument(
        "--store", action="append", choices=sorted(PLACES), help="only this store; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of an earlier run")
    options = parser.parse_args(arguments)
    # The table is what is to be read here, not each container's start and stop.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}")
    counts = [
        asyncio.run(Campaign(name, PLACES[name], seed).run(options.kills))
        for name in options.store or sorted(PLACES)
    ]
    print(table(counts))
    return 1 if any(count.problems for count in counts) else 0


def table(counts: Sequence[Count]) -> str:
    """Lay out what was counted, one column for each store."""
    rows = [("", *(count.store for count in counts))]
    names = [name for name in counts[0].__struct_fields__ if name not in {"store", "problems"}]
    rows += [(name.replace("_", " "), *(f"{getattr(count, name):,}" for count in counts)) for name in names]
    rows.append(("promises broken", *(f"{len(count.problems):,}" for count in counts)))
    text = "\n".join("  ".join([f"{row[0]:<34}", *(f"{cell:>12}" for cell in row[1:])]) for row in rows)
    broken = [f"{count.store}: {problem}" for count in counts for problem in count.problems]
    return "\n".join([text, *broken])


if __name__ == "__main__":
    sys.exit(main())
