"""What keeps an application right when processes die and messages come twice."""

from catga_core.pipeline.idempotent import idempotent
from catga_core.pipeline.own_units import own_units_of_work
from catga_core.reliability.dead_letter_queue import REPLAY_HEADER, DeadLetterQueue, ReplayReport
from catga_core.reliability.locks import HeldLock, Locks, OnLoss
from catga_core.reliability.monitor import OutboxMonitor
from catga_core.reliability.ordering import ordered_by
from catga_core.reliability.pruning import Pruning
from catga_core.reliability.relay import OutboxRelay

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
