"""Idempotent commands, outbox, queues, dead letters and locks."""

from catga_core.features.dead_letters.dry_runs import DryRun
from catga_core.features.dead_letters.feature import add_dead_letters
from catga_core.features.dead_letters.monitor import DeadLetterMonitor
from catga_core.features.dead_letters.options import DeadLetterOptions
from catga_core.features.dead_letters.queue import DeadLetterQueue
from catga_core.features.dead_letters.replayers import REPLAY_HEADER
from catga_core.features.dead_letters.replaying import ReplayReport
from catga_core.features.idempotency.feature import add_idempotency
from catga_core.features.idempotency.marks import idempotent
from catga_core.features.idempotency.options import IdempotencyOptions
from catga_core.features.inbox.feature import add_inbox
from catga_core.features.inbox.options import InboxOptions
from catga_core.features.locks.locks import HeldLock, Locks, OnLoss
from catga_core.features.loop_monitor.feature import add_loop_monitor
from catga_core.features.loop_monitor.options import LoopMonitorOptions
from catga_core.features.outbox.feature import add_outbox
from catga_core.features.outbox.monitor import OutboxMonitor
from catga_core.features.outbox.options import OutboxOptions
from catga_core.features.outbox.relay import OutboxRelay
from catga_core.features.queues.feature import add_queues
from catga_core.features.queues.operator import MessageQueues
from catga_core.features.queues.options import OnKeyFailure, QueueOptions
from catga_core.features.retention.feature import RetentionFeature, add_retention
from catga_core.features.retention.options import RetentionOptions
from catga_core.features.retention.pruning import Pruning
from catga_core.features.units_of_work.marks import own_units_of_work
from catga_core.mediator import Outgoing
from catga_core.messages.ordering import ordered_by

__all__ = [
    "REPLAY_HEADER",
    "DeadLetterMonitor",
    "DeadLetterOptions",
    "DeadLetterQueue",
    "DryRun",
    "HeldLock",
    "IdempotencyOptions",
    "InboxOptions",
    "Locks",
    "LoopMonitorOptions",
    "MessageQueues",
    "OnKeyFailure",
    "OnLoss",
    "OutboxMonitor",
    "OutboxOptions",
    "OutboxRelay",
    "Outgoing",
    "Pruning",
    "QueueOptions",
    "ReplayReport",
    "RetentionFeature",
    "RetentionOptions",
    "add_dead_letters",
    "add_idempotency",
    "add_inbox",
    "add_loop_monitor",
    "add_outbox",
    "add_queues",
    "add_retention",
    "idempotent",
    "ordered_by",
    "own_units_of_work",
]
