"""The campaign at length: `python -m tests.faults.letters --store jetstream --kills 20 --seed 7`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.faults.kills.places import PLACES as STORES
from tests.faults.letters.application import HANDLER, PARKED, QUEUE
from tests.faults.letters.campaign import Campaign, Count
from tests.faults.messaging.places import PLACES


def main() -> int:
    """Run the campaign, print its counts, and return how many promises were broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.letters", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20261130)
    parser.add_argument(
        "--store", action="append", choices=sorted(PLACES), help="only this one; may be repeated"
    )
    parser.add_argument("--source", action="append", choices=(HANDLER, QUEUE, PARKED), help="the same")
    given = parser.parse_args()
    # Each poison message has its line, which says nothing here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    broken = 0
    for store in given.store or sorted(PLACES):
        for source in given.source or (HANDLER, QUEUE, PARKED):
            if source == HANDLER and store not in STORES:
                # No message of it passes the servers.
                continue
            count = asyncio.run(_run(store, source, given))
            print(
                f"letters of {source} over {store}, seed {given.seed}, {count.seconds:.0f} s: {count.letters} letters of "
                f"{given.messages} poison messages, {count.kills} kills, {dict(count.faults)}, {count.handled} handled, "
                f"{count.attempts} attempts, {len(count.problems)} problems",
                flush=True,
            )
            for problem in count.problems:
                print(f"  {problem}")
            broken += len(count.problems)
    return 1 if broken else 0


async def _run(store: str, source: str, given: argparse.Namespace) -> Count:
    with tempfile.TemporaryDirectory(prefix="catga-letters-") as folder:
        async with PLACES[store](1) as place:
            campaign = Campaign(
                place,
                Path(folder) / "log",
                source=source,
                messages=given.messages,
                keys=given.keys,
                seed=given.seed,
            )
            return await campaign.run(given.kills)


if __name__ == "__main__":
    sys.exit(main())
