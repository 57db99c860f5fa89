"""What can go wrong with a test server."""

from __future__ import annotations


class ServerError(RuntimeError):
    """A test server did not do what it was asked to do."""


class ServerBinaryNotFoundError(ServerError):
    """The program of a test server is not installed; the text says which command mends that."""


class ServerStartError(ServerError):
    """A test server did not become ready; the text ends with the last lines of its log."""


class ServerNotRunningError(ServerError):
    """The asked-for action needs a running server, and this one is not started, killed or closed."""
