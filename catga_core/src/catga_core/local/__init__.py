"""What works within one process: the local transport and its bus."""

from catga_core.local.bus import LocalBus, local_bus
from catga_core.local.transport import LocalTransport

__all__ = ["LocalBus", "LocalTransport", "local_bus"]
