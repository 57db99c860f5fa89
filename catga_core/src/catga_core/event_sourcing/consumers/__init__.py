"""Following the log: one worker's way through all events, with a checkpoint, a lease and a policy for what fails."""

from catga_core.event_sourcing.consumers.control import Control
from catga_core.event_sourcing.consumers.delivery import ConsumerDelivery, current_stored_event
from catga_core.event_sourcing.consumers.directory import Directory
from catga_core.event_sourcing.consumers.follower import Follower
from catga_core.event_sourcing.consumers.names import check_follower_name, provider_of_follower
from catga_core.event_sourcing.consumers.observer import Observer
from catga_core.event_sourcing.consumers.options import (
    FollowChoices,
    FollowOptions,
    OnFailure,
    check_follow_options,
)
from catga_core.event_sourcing.consumers.ports import FollowerPorts
from catga_core.event_sourcing.consumers.progress import FollowerState, Progress, follower_health
from catga_core.event_sourcing.consumers.quota import Quota, share_of
from catga_core.event_sourcing.consumers.replaying import Replayed, replay_parked
from catga_core.event_sourcing.consumers.selection import Selection
from catga_core.event_sourcing.consumers.unknown import UnknownEvents
from catga_core.event_sourcing.consumers.waiting import wait_until
from catga_core.event_sourcing.consumers.work import Handle, Place, TooFarAheadError, Work

__all__ = [
    "ConsumerDelivery",
    "Control",
    "Directory",
    "FollowChoices",
    "FollowOptions",
    "Follower",
    "FollowerPorts",
    "FollowerState",
    "Handle",
    "Observer",
    "OnFailure",
    "Place",
    "Progress",
    "Quota",
    "Replayed",
    "Selection",
    "TooFarAheadError",
    "UnknownEvents",
    "Work",
    "check_follow_options",
    "check_follower_name",
    "current_stored_event",
    "follower_health",
    "provider_of_follower",
    "replay_parked",
    "share_of",
    "wait_until",
]
