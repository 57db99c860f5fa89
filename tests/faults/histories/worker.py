"""One process of a run: `python -m tests.faults.histories.worker WORKLOAD ROLE URL LOG SEED`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import structlog

from catga_core import CatgaError
from tests.faults.histories.history import Recorder
from tests.faults.histories.workload import Task
from tests.faults.histories.workloads import WORKLOADS

_AGAIN = 0.1  # seconds before a start that met a fault is tried again


async def main(workload: str, role: str, url: str, log: str, seed: str) -> None:
    """Work until SIGTERM; start again where a fault hits the start."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    record = Recorder(Path(log), f"{role}/{os.getpid()}")
    task = Task(role, url, int(seed), record, stop)
    while not stop.is_set():
        try:
            await WORKLOADS[workload].work(task)
        except CatgaError as error:
            record("not started", code=error.code, error=error.message)
            await asyncio.sleep(_AGAIN)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(*sys.argv[1:]))
