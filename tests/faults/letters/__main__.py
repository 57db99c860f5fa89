"""The campaign at length: `python -m tests.faults.letters --kills 20 --seed 7`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from tests.faults.letters.application import POISONS
from tests.faults.letters.campaign import Campaign


def main() -> int:
    """Run the campaign, print its counts, and return how many promises were broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.letters", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20261130)
    given = parser.parse_args()
    # Each poison message has its line, which says nothing here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    broken = 0
    for source in sorted(POISONS):
        with tempfile.TemporaryDirectory(prefix="catga-letters-") as folder:
            campaign = Campaign(
                f"sqlite:///{Path(folder) / 'app.db'}",
                Path(folder) / "log",
                source=source,
                messages=given.messages,
                keys=given.keys,
                seed=given.seed,
            )
            count = asyncio.run(campaign.run(given.kills))
        print(
            f"letters of {source} over sqlite, seed {given.seed}: {count.letters} poison messages, {count.kills} kills, "
            f"{count.handled} handled, {count.attempts} attempts, {len(count.problems)} problems"
        )
        for problem in count.problems:
            print(f"  {problem}")
        broken += len(count.problems)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
