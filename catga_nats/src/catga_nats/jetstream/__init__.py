"""Queues over NATS JetStream: durable events and commands."""

from catga_nats.jetstream.options import JetStreamOptions

__all__ = ["JetStreamOptions"]
