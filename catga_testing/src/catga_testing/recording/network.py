"""The hosts of a process that can reach one another, and the work that is under way among them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary

from catga_core.messages import MessageType

R = TypeVar("R")


class NotSettledError(AssertionError):
    """Work was still under way when a test stopped waiting; the text names each piece of it."""


class LogConsumers(Protocol):
    """The projections, subscriptions and event publishers of one application."""

    async def head(self) -> int:
        """Return the last position of the application's log."""
        ...

    async def reach(self, position: int, ends_at: float) -> None:
        """Return when all are done up to a position; raise `NotSettledError` at a time of the loop."""
        ...


class Network:
    """Counts what runs, and which published events have still to arrive; knows who follows an event log."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._running: dict[int, tuple[str, float]] = {}
        self._services: dict[str, list[frozenset[str]]] = {}
        self._expected: Counter[tuple[str, str, str]] = Counter()
        self._idle: set[asyncio.Future[None]] = set()
        self._consumers: list[LogConsumers] = []
        self._began = 0

    @contextmanager
    def working(self, what: str) -> Generator[None]:
        """Count one piece of work while the block lasts.

        Args:
            what: The work in words, for the error of `settled`.
        """
        number = self._began = next(self._numbers)
        self._running[number] = (what, asyncio.get_running_loop().time())
        try:
            yield
        finally:
            del self._running[number]
            self._look()

    def serve(self, service: str, events: frozenset[str]) -> Callable[[], None]:
        """Expect events at a service from now on; call what is returned when it listens no more.

        Args:
            service: Its name; an event has arrived when one of its replicas has it.
            events: What it listens for, as `str(MessageType)`.
        """
        replicas = self._services.setdefault(service, [])
        replicas.append(events)

        def leave() -> None:
            replicas.remove(events)
            if not replicas:
                for key in [key for key in self._expected if key[0] == service]:
                    del self._expected[key]
                self._look()

        return leave

    def expect(self, event: MessageType, message_id: str) -> Callable[[], None]:
        """Wait for an event to arrive at each service that listens for it; call what is returned to give it up."""
        name = str(event)
        keys = [
            (service, name, message_id)
            for service, replicas in self._services.items()
            if any(name in events for events in replicas)
        ]
        self._expected.update(keys)

        def give_up() -> None:
            for service, _, _ in keys:
                self.arrived(service, event, message_id)

        return give_up

    def arrived(self, service: str, event: MessageType, message_id: str) -> None:
        """Note that one replica of a service has an event; call it from inside `working`."""
        key = (service, str(event), message_id)
        if self._expected[key] > 1:
            self._expected[key] -= 1
        else:
            del self._expected[key]
        self._look()

    @contextmanager
    def consuming(self, consumers: LogConsumers) -> Generator[None]:
        """Wait for consumers of a log as well while the block lasts.

        Args:
            consumers: Those of one application.
        """
        self._consumers.append(consumers)
        try:
            yield
        finally:
            self._consumers.remove(consumers)

    async def settled(self, within: float, ends_at: float | None = None) -> None:
        """Return when nothing runs, nothing is on its way, and every consumer is done with its log.

        Args:
            within: Real seconds to wait.
            ends_at: When they are over, by the event loop's time; `None` counts from now.

        Raises:
            NotSettledError: Naming what still runs and what has not arrived, or a consumer that is not done.
        """
        if ends_at is None:
            ends_at = asyncio.get_running_loop().time() + within
        while True:
            await self._quiet(ends_at, within)
            if await self._caught_up(ends_at):
                return

    async def bounded(self, work: Awaitable[R], within: float, ends_at: float) -> R:
        """Return what a message ends with; cancel it when the time is over.

        Args:
            work: Sends or publishes it.
            within: Real seconds it has, for the error.
            ends_at: When they are over, by the event loop's time.

        Raises:
            NotSettledError: Naming what still ran.
        """
        loop, report = asyncio.get_running_loop(), list[str]()

        def expire() -> None:
            # Before the cancellation, after which nothing runs.
            report.append(self._report(within))
            limit.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as limit:
                timer = loop.call_at(ends_at, expire)
                try:
                    return await work
                finally:
                    timer.cancel()
        except TimeoutError:
            if not report:
                raise
            raise NotSettledError(report[0]) from None

    async def _caught_up(self, ends_at: float) -> bool:
        """Return whether all consumers were done while nothing else happened: else they may have caused more."""
        if not self._consumers:
            return True
        began, consumers = self._began, tuple(self._consumers)
        heads = [await each.head() for each in consumers]
        for each, head in zip(consumers, heads, strict=True):
            await each.reach(head, ends_at)
        unchanged = heads == [await each.head() for each in consumers]
        return unchanged and began == self._began and not self._running and not self._expected

    async def _quiet(self, ends_at: float, within: float) -> None:
        loop = asyncio.get_running_loop()
        while self._running or self._expected:
            future: asyncio.Future[None] = loop.create_future()
            self._idle.add(future)
            try:
                async with asyncio.timeout_at(ends_at):
                    await future
            except TimeoutError:
                raise NotSettledError(self._report(within)) from None
            finally:
                self._idle.discard(future)

    def _look(self) -> None:
        if self._running or self._expected:
            return
        for future in self._idle:
            if not future.done():
                future.set_result(None)

    def _report(self, within: float) -> str:
        now = asyncio.get_running_loop().time()
        lines = [f"{what}, for {now - since:.3g} s" for what, since in self._running.values()]
        lines += [
            f"{event} ({message_id}) has not arrived at {service}"
            for service, event, message_id in self._expected
        ]
        text = f"not settled within {within:g} s:" + "".join(f"\n  - {line}" for line in lines)
        if self._expected:
            text += (
                "\nAn event counts as arrived when a test_host of the service has it: start every replica "
                "by test_host, and give hosts that cannot reach each other different network= names."
            )
        return text


_networks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, tuple[Network, list[object]]]] = (
    WeakKeyDictionary()
)


@contextmanager
def join_network(key: Hashable) -> Generator[Network]:
    """Share a network with the other hosts of this loop that give an equal key, while the block lasts."""
    known = _networks.setdefault(asyncio.get_running_loop(), {})
    network, members = known.setdefault(key, (Network(), []))
    me = object()
    members.append(me)
    try:
        yield network
    finally:
        members.remove(me)
        if not members:
            del known[key]
