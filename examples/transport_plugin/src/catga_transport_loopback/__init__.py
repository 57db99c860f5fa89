"""Messages over TCP, through one small hub: an example of a transport for Catga."""

from .hub import Hub
from .plugin import add_loopback_transport
from .transport import LoopbackTransport

__all__ = ["Hub", "LoopbackTransport", "add_loopback_transport"]
