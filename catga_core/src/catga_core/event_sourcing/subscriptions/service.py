"""`Subscriptions`: what an application asks of its subscriptions."""

from __future__ import annotations

from typing import ClassVar

from catga_core.event_sourcing.consumers import Directory, FollowerPorts
from catga_core.event_sourcing.subscriptions.worker import SubscriptionWorker


class Subscriptions(Directory[SubscriptionWorker]):
    """The subscriptions of a container: ask for it in a constructor, or with `app.get(Subscriptions)`.

    Parameters:
        ports: what they use.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(self, ports: FollowerPorts) -> None:
        super().__init__("subscription", ports)
