"""How NATS gets into a container."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from catga_core.clock import Clock
from catga_core.errors import ConfigurationError
from catga_core.interfaces.transport import Transport
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.plugins import plugin
from catga_nats.options import NatsOptions
from catga_nats.transport import NatsTransport

if TYPE_CHECKING:
    from catga_core.container import CatgaContainer


@plugin(api=1)
def add_nats_catga(container: CatgaContainer, options: str | NatsOptions = "nats://localhost:4222") -> None:
    """Send to other processes over NATS, and listen there for what this one handles.

    Args:
        container: The application's container; the last call for a transport wins.
        options: A URL such as `nats://node1:4222,nats://node2:4222` (see `NatsOptions.from_url`), or `NatsOptions`.

    Raises:
        ConfigurationError: For options that cannot work, and when nats-py is not installed.
    """
    settings = NatsOptions.from_url(options) if isinstance(options, str) else options
    if importlib.util.find_spec("nats") is None:
        raise ConfigurationError(
            'the NATS transport needs nats-py, which is not installed: pip install "catga[nats]"'
        )

    def nats_transport(
        serializer: Serializer, clock: Clock, registry: MessageRegistry | None = None
    ) -> NatsTransport:
        return NatsTransport(settings, serializer, clock, registry)

    container.add_singleton(Transport, nats_transport)
    if settings.enable_jetstream:
        _add_jetstream(container, settings)


def _add_jetstream(container: CatgaContainer, settings: NatsOptions) -> None:
    from catga_core.features.queues.feature import QueuesFeature
    from catga_core.interfaces.durable_transport import DurableTransport
    from catga_nats.jetstream.queues import JetStreamQueues

    def nats_queues(clock: Clock) -> JetStreamQueues:
        return JetStreamQueues(settings, clock)

    container.add_hosted(DurableTransport, nats_queues, name="durable_transport")
    if not container.has_feature(QueuesFeature.name):
        container.add_feature(QueuesFeature())


add_nats_transport = add_nats_catga
"""The same under the name of the entry point `catga.transports`."""
