"""Consumers: read the log with a checkpoint, a lease and a policy for failing events."""

from catga_core.event_sourcing.consumers.consumer import Consumer
from catga_core.event_sourcing.consumers.delivery import ConsumerDelivery, current_stored_event
from catga_core.event_sourcing.consumers.directory import Directory
from catga_core.event_sourcing.consumers.lease_limit import LeaseLimit, share_of
from catga_core.event_sourcing.consumers.log_loss import LogLosses
from catga_core.event_sourcing.consumers.monitor import Monitor
from catga_core.event_sourcing.consumers.names import check_consumer_name, provider_of_consumer
from catga_core.event_sourcing.consumers.options import (
    ConsumerChoices,
    ConsumerOptions,
    OnFailure,
    OnLogLoss,
    check_consumer_options,
    chosen_options,
)
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.progress import ConsumerState, Progress, consumer_health
from catga_core.event_sourcing.consumers.replaying import (
    Replayed,
    rehearse_letter,
    replay_letter,
    replay_parked,
)
from catga_core.event_sourcing.consumers.selection import Selection
from catga_core.event_sourcing.consumers.takeover import Takeover
from catga_core.event_sourcing.consumers.unknown import UnknownEvents
from catga_core.event_sourcing.consumers.waiting import wait_until
from catga_core.event_sourcing.consumers.work import CheckpointMover, ConsumerWork, Handle, TooFarAheadError

__all__ = [
    "CheckpointMover",
    "Consumer",
    "ConsumerChoices",
    "ConsumerDelivery",
    "ConsumerOptions",
    "ConsumerPorts",
    "ConsumerState",
    "ConsumerWork",
    "Directory",
    "Handle",
    "LeaseLimit",
    "LogLosses",
    "Monitor",
    "OnFailure",
    "OnLogLoss",
    "Progress",
    "Replayed",
    "Selection",
    "Takeover",
    "TooFarAheadError",
    "UnknownEvents",
    "check_consumer_name",
    "check_consumer_options",
    "chosen_options",
    "consumer_health",
    "current_stored_event",
    "provider_of_consumer",
    "rehearse_letter",
    "replay_letter",
    "replay_parked",
    "share_of",
    "wait_until",
]
