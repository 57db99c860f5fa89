"""Runtime primitives: loops, waits, retries, leases and shielded work, each implemented once."""

from catga_core.runtime.cancellation import (
    being_cancelled,
    cancel_and_wait,
    cancelled_itself,
    passes_through,
)
from catga_core.runtime.credit import Credit
from catga_core.runtime.deliveries import cancelled_by_handler, delivering
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.intake import Intake
from catga_core.runtime.item_buffer import End, ItemBuffer
from catga_core.runtime.lease import Lease, Leased
from catga_core.runtime.log_reader import LogPage, LogReader
from catga_core.runtime.retry import RetryPolicy, jittered, yield_to_winner
from catga_core.runtime.shielded import acquire_or_release, cleanup, settled, shielded
from catga_core.runtime.stream_pump import StreamPump
from catga_core.runtime.tasks import background_task
from catga_core.runtime.waiter import Expectation, Waiter, poll_until
from catga_core.runtime.worker import Worker, WorkerState

__all__ = [
    "Credit",
    "End",
    "Expectation",
    "HomeLoop",
    "Intake",
    "ItemBuffer",
    "Lease",
    "Leased",
    "LogPage",
    "LogReader",
    "RetryPolicy",
    "StreamPump",
    "Waiter",
    "Worker",
    "WorkerState",
    "acquire_or_release",
    "background_task",
    "being_cancelled",
    "cancel_and_wait",
    "cancelled_by_handler",
    "cancelled_itself",
    "cleanup",
    "delivering",
    "jittered",
    "passes_through",
    "poll_until",
    "settled",
    "shielded",
    "yield_to_winner",
]
