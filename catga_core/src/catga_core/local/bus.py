"""The in-process bus: who listens for what, shared by every container of a process that names it."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Iterator
from typing import Any

from catga_core.intake import Intake
from catga_core.interfaces.transport import EventEndpoint, RequestEndpoint


class Listener:
    """One endpoint on the bus.

    Parameters:
        endpoint: what handles the messages.
        limit: how many messages it may handle at the same time.
    """

    __slots__ = ("endpoint", "intake", "room")

    def __init__(self, endpoint: Any, limit: int) -> None:
        self.endpoint: Any = endpoint
        self.intake: Intake = Intake(limit)
        self.room: asyncio.Semaphore = asyncio.Semaphore(limit)


class LocalBus:
    """Connects the containers of one process; made by `local_bus(name)`."""

    def __init__(self) -> None:
        self._requests: dict[type[Any], list[Listener]] = {}
        self._events: dict[type[Any], dict[str, list[Listener]]] = {}
        self._turns: Iterator[int] = itertools.count()

    def listen_for_request(self, endpoint: RequestEndpoint, limit: int) -> Listener:
        """Add one more handler of a request; those of one request take turns."""
        listener = Listener(endpoint, limit)
        self._requests.setdefault(endpoint.message_type.cls, []).append(listener)
        return listener

    def listen_for_event(self, endpoint: EventEndpoint, service: str, limit: int) -> Listener:
        """Add one more listener of an event; those of one service take turns."""
        listener = Listener(endpoint, limit)
        self._events.setdefault(endpoint.message_type.cls, {}).setdefault(service, []).append(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Take a listener away; a second time does nothing."""
        cls = listener.endpoint.message_type.cls
        groups = [self._requests.get(cls, []), *self._events.get(cls, {}).values()]
        for group in groups:
            if listener in group:
                group.remove(listener)

    def handler_of(self, cls: type[Any]) -> Listener | None:
        """Return the listener whose turn it is to handle a request, `None` where there is none."""
        return self._turn(self._requests.get(cls))

    def listeners_of(self, cls: type[Any]) -> list[Listener]:
        """Return one listener of each service that listens for an event."""
        turns = (self._turn(group) for group in self._events.get(cls, {}).values())
        return [listener for listener in turns if listener is not None]

    def _turn(self, group: list[Listener] | None) -> Listener | None:
        return group[next(self._turns) % len(group)] if group else None


# A bus lives as long as someone is on it, so that one test's bus is not the next one's.
_buses: weakref.WeakValueDictionary[str, LocalBus] = weakref.WeakValueDictionary()


def local_bus(name: str = "default") -> LocalBus:
    """Return the bus of this name in this process.

    Parameters:
        name: any text; containers that give the same are connected.
    """
    bus = _buses.get(name)
    if bus is None:
        bus = _buses[name] = LocalBus()
    return bus
