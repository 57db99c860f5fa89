"""What the mediator asks its container for: the pipelines of a message type, and the way out of the process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from catga_core.clock import Clock
from catga_core.interfaces.transport import Transport
from catga_core.messages import Message
from catga_core.pipeline import Pipeline


class Route(msgspec.Struct, frozen=True):
    """One compiled pipeline.

    Parameters:
        pipeline: as linked.
        context: whether anything in it can ask for the message's context.
    """

    pipeline: Pipeline
    context: bool


class NotPrepared(Exception):  # noqa: N818 - control flow, never seen outside
    """A pipeline needs a service that has to be awaited first; `prepare` does so."""


class RouteSource(Protocol):
    """The container, as the mediator sees it."""

    @property
    def service_name(self) -> str:
        """The name of this service."""
        ...

    @property
    def clock(self) -> Clock:
        """The container's clock."""
        ...

    @property
    def transport(self) -> Transport | None:
        """The way to other processes, `None` when everything is in this one."""
        ...

    def request_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a request handled here, `None` for any other.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    def event_routes(self, cls: type[Message]) -> Sequence[Route]:
        """Return one pipeline for each handler of an event, in the order of registration.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    def stream_route(self, cls: type[Message]) -> Route | None:
        """Return the pipeline of a stream query handled here, `None` for any other.

        Raises:
            NotPrepared: when `prepare` has to be awaited first.
        """
        ...

    async def prepare(self) -> None:
        """Make the services that have to be awaited."""
        ...
