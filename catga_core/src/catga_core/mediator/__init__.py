"""The mediator that applications send with, and the dispatcher that everything delivered goes through."""

from catga_core.mediator.dispatcher import Dispatcher
from catga_core.mediator.durable import DurableMessages, Enqueued
from catga_core.mediator.mediator import CatgaMediator
from catga_core.mediator.options import PublishOptions, SendOptions
from catga_core.mediator.recording import Outgoing, Recording
from catga_core.mediator.routes import EventOutbox, FailureSink, NotPrepared, Route, RouteSource

__all__ = [
    "CatgaMediator",
    "Dispatcher",
    "DurableMessages",
    "Enqueued",
    "EventOutbox",
    "FailureSink",
    "NotPrepared",
    "Outgoing",
    "PublishOptions",
    "Recording",
    "Route",
    "RouteSource",
    "SendOptions",
]
