"""`Subscriptions`: what an application calls for its subscriptions."""

from __future__ import annotations

from typing import ClassVar

from catga_core.event_sourcing.consumers import ConsumerPorts, Directory
from catga_core.event_sourcing.subscriptions.worker import SubscriptionWorker


class Subscriptions(Directory[SubscriptionWorker]):
    """The subscriptions of a container: take it in a constructor, or use `app.subscriptions`.

    Args:
        ports: What they use.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, ports: ConsumerPorts) -> None:
        super().__init__("subscription", ports)
