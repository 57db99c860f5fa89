"""One process of a run: `python -m tests.faults.sagas.process ROLE NATS LOG PLACE`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from catga_core import CatgaContainer, CatgaError
from tests.faults.histories.history import Recorder
from tests.faults.messaging.counts import Log
from tests.faults.sagas.coordinator import coordinator, over_nats
from tests.faults.sagas.ledger import Ledger
from tests.faults.sagas.services import service

COORDINATOR = "coordinator"
_AGAIN = 0.1  # seconds before what a fault hit is tried again


async def serve(made: Callable[[], CatgaContainer], record: Recorder, stop: asyncio.Event) -> None:
    """Run a container until SIGTERM, beginning again while a server is away."""
    while not stop.is_set():
        try:
            async with made().running():
                record("ready")
                await stop.wait()
        except CatgaError as error:
            record("not started", error=error.message)
            await asyncio.sleep(_AGAIN)


async def main(role: str, server: str, log: str, place: str) -> None:
    """Run one process.

    Args:
        role: `coordinator`, or the name of a service.
        server: The NATS server.
        log: Where it writes what it does.
        place: The URL of the coordinator's storage, or the folder of the services' files.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    record = Recorder(Path(log), str(os.getpid()))

    def made() -> CatgaContainer:
        if role == COORDINATOR:
            return over_nats(coordinator(place, Log(record)), server)
        return over_nats(service(role, Ledger(Path(place) / f"{role}.db")), server)

    await serve(made, record, stop)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(*sys.argv[1:]))
