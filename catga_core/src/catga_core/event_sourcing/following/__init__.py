"""Following the log: one worker's way through all events, with a checkpoint, a lease and a policy for what fails."""

from catga_core.event_sourcing.following.control import Control
from catga_core.event_sourcing.following.directory import Directory
from catga_core.event_sourcing.following.follower import Follower
from catga_core.event_sourcing.following.names import check_follower_name, provider_of_follower
from catga_core.event_sourcing.following.observer import Observer
from catga_core.event_sourcing.following.options import (
    FollowChoices,
    FollowOptions,
    OnFailure,
    check_follow_options,
)
from catga_core.event_sourcing.following.ports import FollowerPorts
from catga_core.event_sourcing.following.progress import FollowerState, Progress, follower_health
from catga_core.event_sourcing.following.quota import Quota, share_of
from catga_core.event_sourcing.following.replaying import Replayed, replay_parked
from catga_core.event_sourcing.following.selection import Selection
from catga_core.event_sourcing.following.waiting import wait_until
from catga_core.event_sourcing.following.work import Handle, Place, TooFarAheadError, Work

__all__ = [
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
    "Work",
    "check_follow_options",
    "check_follower_name",
    "follower_health",
    "provider_of_follower",
    "replay_parked",
    "share_of",
    "wait_until",
]
