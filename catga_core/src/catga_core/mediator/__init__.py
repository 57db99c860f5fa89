"""The mediator: send, publish and stream."""

from catga_core.mediator.mediator import CatgaMediator, PublishOptions, SendOptions
from catga_core.mediator.routes import NotPrepared, Route, RouteSource

__all__ = ["CatgaMediator", "NotPrepared", "PublishOptions", "Route", "RouteSource", "SendOptions"]
