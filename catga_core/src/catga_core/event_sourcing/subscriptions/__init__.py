"""Subscriptions: handlers for the events of the log, one after the other, shared by processes."""

from catga_core.event_sourcing.consumers import ConsumerOptions, OnFailure, OnLogLoss, Replayed
from catga_core.event_sourcing.subscriptions.definition import Start
from catga_core.event_sourcing.subscriptions.plugin import add_subscription
from catga_core.event_sourcing.subscriptions.publisher import add_event_publisher
from catga_core.event_sourcing.subscriptions.service import Subscriptions
from catga_core.messages.delivery import Delivery

__all__ = [
    "ConsumerOptions",
    "Delivery",
    "OnFailure",
    "OnLogLoss",
    "Replayed",
    "Start",
    "Subscriptions",
    "add_event_publisher",
    "add_subscription",
]
