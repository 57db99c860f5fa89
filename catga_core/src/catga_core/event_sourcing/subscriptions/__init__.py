"""Subscriptions: a function or class that is given the events of the log, one after the other, across processes."""

from catga_core.event_sourcing.consumers import FollowOptions, OnFailure, Replayed
from catga_core.event_sourcing.subscriptions.definition import Delivery, Start
from catga_core.event_sourcing.subscriptions.plugin import add_subscription
from catga_core.event_sourcing.subscriptions.service import Subscriptions

__all__ = [
    "Delivery",
    "FollowOptions",
    "OnFailure",
    "Replayed",
    "Start",
    "Subscriptions",
    "add_subscription",
]
