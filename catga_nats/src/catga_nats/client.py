"""nats-py's client with what it lacks. Every private part of nats-py that Catga touches is touched in this file.

This module imports nats-py; it is itself imported when a connection starts, so that `import catga_nats` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.errors import SecureConnRequiredError

if TYPE_CHECKING:
    import asyncio


class CatgaClient(Client):
    """A connection that survives a late pong, can leave a hung server, and can insist on encryption.

    Parameters:
        demand_tls: whether to refuse a server that does not encrypt, before any credentials are sent.
    """

    def __init__(self, *, demand_tls: bool) -> None:
        super().__init__()
        self._demand_tls = demand_tls

    @property
    def server_name(self) -> str:
        """What the server calls itself, empty before the first connection."""
        return str(self._server_info.get("server_name", ""))

    def abort(self) -> None:
        """Cut the connection without a word; nats-py notices and looks for another server.

        Closing it politely waits until the peer has read everything, and a hung peer (or a cut network) never does:
        nats-py's own way of leaving such a server waits for ever as soon as there is unsent data.
        """
        stream = getattr(getattr(self, "_transport", None), "_io_writer", None)
        if stream is not None:
            stream.transport.abort()

    async def _process_pong(self) -> None:
        # nats-py sets the result of a ping that has timed out or was cancelled, which raises InvalidStateError and
        # ends its read loop for good while it goes on calling itself connected.
        pongs: list[asyncio.Future[Any]] = self._pongs
        if pongs and pongs[0].done():
            pongs.pop(0)
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    def _connect_command(self) -> bytes:
        # Whether to encrypt is the server's word in nats-py, whatever the URL says. A server in the middle that takes
        # that word away would be sent our credentials in the clear.
        if self._demand_tls:
            stream = getattr(getattr(self, "_transport", None), "_io_writer", None)
            if stream is None or stream.get_extra_info("ssl_object") is None:
                raise SecureConnRequiredError
        return super()._connect_command()
