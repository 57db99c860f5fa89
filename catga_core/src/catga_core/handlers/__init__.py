"""Who handles a message: the base classes and what is known of each registered handler."""

from catga_core.handlers.bases import EventHandler, RequestHandler, StreamHandler
from catga_core.handlers.definition import HandlerDefinition, define_handlers

__all__ = [
    "EventHandler",
    "HandlerDefinition",
    "RequestHandler",
    "StreamHandler",
    "define_handlers",
]
