"""NATS for Catga: request and reply, publish and subscribe."""

from catga_nats.jetstream.options import JetStreamOptions
from catga_nats.options import NatsOptions
from catga_nats.plugin import add_nats_catga, add_nats_transport
from catga_nats.transport import NatsTransport
from catga_nats.version import __version__

__all__ = [
    "JetStreamOptions",
    "NatsOptions",
    "NatsTransport",
    "__version__",
    "add_nats_catga",
    "add_nats_transport",
]
