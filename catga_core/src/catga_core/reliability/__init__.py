"""Idempotent commands, outbox, dead letters and locks."""

from catga_core.features.dead_letters.queue import REPLAY_HEADER, DeadLetterQueue, ReplayReport
from catga_core.features.idempotency.marks import idempotent
from catga_core.features.locks.locks import HeldLock, Locks, OnLoss
from catga_core.features.outbox.monitor import OutboxMonitor
from catga_core.features.outbox.ordering import ordered_by
from catga_core.features.outbox.relay import OutboxRelay
from catga_core.features.retention.pruning import Pruning
from catga_core.features.units_of_work.marks import own_units_of_work

__all__ = [
    "REPLAY_HEADER",
    "DeadLetterQueue",
    "HeldLock",
    "Locks",
    "OnLoss",
    "OutboxMonitor",
    "OutboxRelay",
    "Pruning",
    "ReplayReport",
    "idempotent",
    "ordered_by",
    "own_units_of_work",
]
