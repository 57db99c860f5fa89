"""Catga: commands, queries and events, in one process or over a message bus."""

from catga_core.clock import Clock, SystemClock
from catga_core.codecs.foreign import register_type
from catga_core.composition import Catga, add_catga, add_memory_catga, add_module, run
from catga_core.container import CatgaApp, CatgaContainer, Lifetime, Module
from catga_core.container.app.options import CatgaOptions
from catga_core.container.app.roles import Role
from catga_core.errors import CatgaError, ConcurrencyError, ConfigurationError, ErrorCode, LeaseLostError
from catga_core.feature import Builder, Feature, Graph, Problem, Services
from catga_core.feature_options import FeatureOptions
from catga_core.handlers import EventHandler, HandlerDefinition, RequestHandler, StreamHandler
from catga_core.interfaces import (
    ANY,
    NO_STREAM,
    AppendResult,
    EventData,
    EventStore,
    Health,
    HealthReporter,
    HealthStatus,
    HostedService,
    MessageContext,
    Serializer,
    StoredEvent,
    StreamEvents,
    Transport,
    TransportCapabilities,
    UnitOfWork,
    ValidationProblem,
    Validator,
)
from catga_core.mediator import CatgaMediator, Enqueued
from catga_core.messages import (
    Command,
    Event,
    MessageKind,
    MessageType,
    Query,
    Request,
    StreamQuery,
    message,
    message_type,
)
from catga_core.messages.context import current_context
from catga_core.messages.delivery import Delivery, Priority
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.scheduled import ScheduledId, scheduled_id
from catga_core.pipeline import Behavior, Next, Stage
from catga_core.plugins import plugin
from catga_core.version import __version__

__all__ = [
    "ANY",
    "NO_STREAM",
    "AppendResult",
    "Behavior",
    "Builder",
    "Catga",
    "CatgaApp",
    "CatgaContainer",
    "CatgaError",
    "CatgaMediator",
    "CatgaOptions",
    "CatgaResult",
    "Clock",
    "Command",
    "ConcurrencyError",
    "ConfigurationError",
    "Delivery",
    "Enqueued",
    "ErrorCode",
    "Event",
    "EventData",
    "EventHandler",
    "EventStore",
    "Failure",
    "Feature",
    "FeatureOptions",
    "Graph",
    "HandlerDefinition",
    "Health",
    "HealthReporter",
    "HealthStatus",
    "HostedService",
    "LeaseLostError",
    "Lifetime",
    "MessageContext",
    "MessageKind",
    "MessageType",
    "Module",
    "Next",
    "Priority",
    "Problem",
    "Query",
    "Request",
    "RequestHandler",
    "Role",
    "ScheduledId",
    "Serializer",
    "Services",
    "Stage",
    "StoredEvent",
    "StreamEvents",
    "StreamHandler",
    "StreamQuery",
    "Success",
    "SystemClock",
    "Transport",
    "TransportCapabilities",
    "UnitOfWork",
    "ValidationProblem",
    "Validator",
    "__version__",
    "add_catga",
    "add_memory_catga",
    "add_module",
    "current_context",
    "message",
    "message_type",
    "plugin",
    "register_type",
    "run",
    "scheduled_id",
]
