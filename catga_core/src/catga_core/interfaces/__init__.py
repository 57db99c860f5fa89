"""The ports: what the rest of Catga is built against, and what a plugin implements."""

from catga_core.clock import Clock
from catga_core.interfaces.context import MessageContext
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.hosting import HealthReporter, HostedService
from catga_core.interfaces.serializer import Serializer
from catga_core.interfaces.transport import (
    EventEndpoint,
    Inbound,
    RequestEndpoint,
    Transport,
    TransportCapabilities,
)
from catga_core.interfaces.validation import ValidationProblem, Validator

__all__ = [
    "Clock",
    "EventEndpoint",
    "Health",
    "HealthReporter",
    "HealthStatus",
    "HostedService",
    "Inbound",
    "MessageContext",
    "RequestEndpoint",
    "Serializer",
    "Transport",
    "TransportCapabilities",
    "ValidationProblem",
    "Validator",
]
