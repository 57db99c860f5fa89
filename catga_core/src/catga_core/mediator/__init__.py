"""The mediator: send, publish and stream."""

from catga_core.mediator.handing_over import leave_in_outbox
from catga_core.mediator.mediator import CatgaMediator
from catga_core.mediator.options import PublishOptions, SendOptions
from catga_core.mediator.routes import EventOutbox, KeepFailed, NotPrepared, Route, RouteSource

__all__ = [
    "CatgaMediator",
    "EventOutbox",
    "KeepFailed",
    "NotPrepared",
    "PublishOptions",
    "Route",
    "RouteSource",
    "SendOptions",
    "leave_in_outbox",
]
