"""What every transport has: capabilities, a lifecycle and health."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.endpoints import Inbound
from catga_core.interfaces.health import Health


class TransportCapabilities(msgspec.Struct, frozen=True):
    """What a transport can do; the contract kit tests what is claimed and nothing less.

    Args:
        remote: Whether it leaves the process, so that messages are serialized and a peer can die.
        zero_copy: Whether the receiver gets the sender's own objects.
        streams: Whether it is a `StreamTransport`, which carries stream queries to other processes.
    """

    remote: bool
    zero_copy: bool = False
    streams: bool = False


@runtime_checkable
class TransportLifecycle(Protocol):
    """The lifecycle of a transport.

    The container calls `connect`, `serve`, `drain` and `close` once each, in this order. Messages can be sent from `connect`
    until `close`.
    """

    @property
    def capabilities(self) -> TransportCapabilities:
        """What this transport can do."""
        ...

    async def connect(self) -> None:
        """Return when messages can be sent.

        Raises:
            ConfigurationError: When the options cannot work.
            CatgaError: `TRANSPORT_FAILED` without an answer within the connect timeout.
        """
        ...

    async def serve(self, inbound: Inbound, /) -> None:
        """Listen for what this process handles; return when the peers can reach it."""
        ...

    async def drain(self, timeout: float, /) -> None:
        """Refuse new work, finish and answer running work within a number of seconds, then cancel the rest.

        Requests of this process that still wait get a failed result.
        """
        ...

    async def close(self) -> None:
        """Release everything; the transport is of no use afterwards."""
        ...

    def health(self) -> Health:
        """Return the connection's state as it is now."""
        ...
