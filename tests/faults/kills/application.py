"""The application that is killed: `python -m tests.faults.kills.application URL LOG SEED`."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from catga_core import CatgaContainer, CatgaOptions, add_catga
from catga_core.event_sourcing.projections import add_projection
from tests.faults.kills import domain
from tests.faults.kills.domain import LANES, PayHandler, SendReceipt
from tests.faults.kills.totals import Reader, RedisReader, RedisTotals, SqliteReader, SqliteTotals

# What a killed process held is free again this soon, so that the next one gets to it before it is killed too.
_LEASE = 0.3


def compose(url: str, *, working: bool, dead_letters: bool = False) -> CatgaContainer:
    """Put the application together.

    Parameters:
        url: where its state is.
        working: whether it relays and projects; else it can only be looked at.
        dead_letters: whether an event is kept whose handler failed.
    """
    catga = add_catga(
        CatgaOptions(
            service_name="kills",
            store=url,
            enable_outbox=True,
            enable_outbox_relay=working,
            enable_inbox=True,
            enable_dead_letter_queue=dead_letters,
            outbox_lease_seconds=_LEASE,
            outbox_poll_seconds=0.1,
            outbox_retry_delay_seconds=0.05,
            outbox_max_attempts=1_000_000,
            idempotency_lease_seconds=_LEASE,
        )
    )
    catga.add_handlers(PayHandler, SendReceipt)
    if working:
        projection = SqliteTotals if url.startswith("sqlite") else RedisTotals
        add_projection(catga, projection, lease_seconds=_LEASE, poll_seconds=0.1, retry_delay_seconds=0.05)
    return catga


def reader_for(url: str) -> Reader:
    """Return what reads the projection."""
    return SqliteReader() if url.startswith("sqlite") else RedisReader(url)


async def work(url: str, log: Path, seed: int) -> None:
    """Work until killed."""
    said = [line.removeprefix("paid ") for line in log.read_text().splitlines() if line.startswith("paid ")]
    chance = random.Random(seed)
    with log.open("ab", buffering=0) as file:

        def say(line: str) -> None:
            # One write a line: what was said is in the system's hands, whatever becomes of this process.
            os.write(file.fileno(), f"{line}\n".encode())

        async with compose(url, working=True).running() as app:
            say("ready")
            async with asyncio.TaskGroup() as group:
                for lane in range(LANES):
                    group.create_task(domain.append_for_ever(app.event_store, lane, chance, say))
                    group.create_task(domain.pay_for_ever(app.mediator, lane, said, chance, say))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
