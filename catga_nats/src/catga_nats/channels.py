"""The addresses of open streams, at which their frames arrive over the inbox of the connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from catga_core.errors import CatgaError


class Channel(Protocol):
    """One side of an open stream.

    Attributes:
        subject: Where its query was sent; empty on the responder's side.
        peer: Where its own frames are sent; empty until that is known.
    """

    subject: bytes
    peer: bytes

    def deliver(self, reply: bytes, data: bytes, headers: Mapping[str, str] | None, /) -> None:
        """Take one frame, without waiting."""
        ...

    def fail(self, error: CatgaError, /) -> None:
        """End the stream: its other side cannot be reached any more."""
        ...


class Channels:
    """The open streams of a connection, by address."""

    __slots__ = ("_open", "_retired")

    def __init__(self) -> None:
        self._open: dict[bytes, Channel] = {}
        self._retired: dict[bytes, Channel] = {}

    def __len__(self) -> int:
        """Return how many streams are open, on either side."""
        return len(self._open)

    def add(self, address: bytes, channel: Channel) -> None:
        """Deliver the frames for an address to a channel."""
        self._open[address] = channel

    def retire(self, address: bytes) -> None:
        """Deliver the next frames to a channel that counts as open no longer, until it is forgotten or the connection lost."""
        self._retired[address] = self._open.pop(address)

    def forget(self, address: bytes) -> None:
        """Drop the frames that still arrive for an address."""
        self._open.pop(address, None)
        self._retired.pop(address, None)

    def deliver(self, address: bytes, reply: bytes, data: bytes, headers: Mapping[str, str] | None) -> None:
        """Take one frame; one for a stream that has ended is dropped."""
        channel = self._open.get(address) or self._retired.get(address)
        if channel is not None:
            channel.deliver(reply, data, headers)

    def fail_all(self, error: CatgaError) -> None:
        """End every stream with this error."""
        self._retired.clear()
        for channel in tuple(self._open.values()):
            channel.fail(error)

    def refused(self, subject: bytes, error: CatgaError) -> None:
        """End the streams that send to a subject which the server denies.

        Args:
            subject: The subject of queries, or the address of the other side.
            error: Why they fail.
        """
        for channel in tuple(self._open.values()):
            if subject == (channel.peer or channel.subject):
                channel.fail(error)


def unreachable(data: bytes, headers: Mapping[str, str] | None) -> bool:
    """Return whether a frame is the server's word that the other side does not listen: no payload, and the status 503."""
    return headers is not None and not data and headers.get("Status") == "503"
