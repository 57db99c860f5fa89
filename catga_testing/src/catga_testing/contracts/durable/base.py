"""The fixtures of the kit of durable messaging, its messages and handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Protocol, TypeAlias

import pytest
import pytest_asyncio

from catga_core import CatgaContainer, CatgaError, CatgaOptions, Command, Event, message
from catga_core.interfaces import ALL_LETTERS, DeadLetter, DeadLetterFilter
from catga_core.reliability import QueueOptions, ordered_by
from catga_testing.contracts.kept import Contract
from catga_testing.waiting import eventually

Compose = Callable[[CatgaOptions, QueueOptions], CatgaContainer]
"""Returns a new container over the place of this test, as one more process would have it, not yet started."""

QUICK = QueueOptions(
    retry_delay_seconds=0.02, retry_max_delay_seconds=0.05, max_attempts=3, poll_seconds=0.05
)
"""Options of a test that retries."""


@message(name="kit.durable.Happened", delivery="at_least_once")
class Happened(Event):
    """An event without an order."""

    number: int


@message(name="kit.durable.Moved", delivery="at_least_once")
@ordered_by(lambda event: event.thing)
class Moved(Event):
    """An event that is handled in order for each thing."""

    thing: str
    number: int


@message(name="kit.durable.Told", delivery="at_most_once")
class Told(Event):
    """An event that is not kept."""

    number: int


@message(name="kit.durable.Do")
class Do(Command[int]):
    """A command to enqueue."""

    number: int


Handled: TypeAlias = tuple[str, int]
"""What was handled: the handler or the key, and the number."""


class Seen:
    """What the handlers of a test have had, over all its containers, and how they are to end."""

    def __init__(self) -> None:
        self.had: list[Handled] = []
        self.attempts: list[Handled] = []
        self.fails: dict[Handled, list[BaseException]] = {}
        self.holds: dict[Handled, asyncio.Event] = {}
        self.changed: asyncio.Condition = asyncio.Condition()

    def fail(self, what: Handled, *errors: BaseException) -> None:
        """Have the next attempts fail."""
        self.fails[what] = list(errors)

    def hold(self, what: Handled) -> asyncio.Event:
        """Have attempts wait until the event is set."""
        return self.holds.setdefault(what, asyncio.Event())

    async def attempt(self, what: Handled) -> None:
        """Be handled: wait, fail or succeed as the test says."""
        self.attempts.append(what)
        await self._notify()
        if what in self.holds:
            await self.holds[what].wait()
        if self.fails.get(what):
            raise self.fails[what].pop(0)
        self.had.append(what)
        await self._notify()

    async def until(self, seen: Callable[[], bool], *, within: float = 15.0) -> None:
        """Return as soon as the handlers have had what the test waits for."""
        async with asyncio.timeout(within), self.changed:
            await self.changed.wait_for(seen)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


class Process:
    """One container of a test, with the kit's handlers.

    Args:
        catga: The container.
        seen: Shared by all of the test.
        handlers: Which of the kit's handlers it has, by name.
    """

    def __init__(self, catga: CatgaContainer, seen: Seen, handlers: Sequence[str]) -> None:
        async def note(event: Happened) -> None:
            await seen.attempt(("note", event.number))

        async def count(event: Happened) -> None:
            await seen.attempt(("count", event.number))

        async def follow(event: Moved) -> None:
            await seen.attempt((event.thing, event.number))

        async def listen(event: Told) -> None:
            await seen.attempt(("told", event.number))

        async def do(command: Do) -> int:
            await seen.attempt(("do", command.number))
            return command.number * 2

        known: dict[str, Any] = {each.__name__: each for each in (note, count, follow, listen, do)}
        self.catga: CatgaContainer = catga
        self.app: Any = None
        self._running = AsyncExitStack()
        catga.add_handlers(*(known[name] for name in handlers))

    async def start(self, roles: Collection[Any] | None) -> None:
        """Run the container."""
        context = self.catga.running() if roles is None else self.catga.running(roles=roles)
        self.app = await self._running.enter_async_context(context)

    async def stop(self) -> None:
        """Stop the container; once more does nothing."""
        await self._running.aclose()


class Start(Protocol):
    """Starts one more process of a service."""

    async def __call__(
        self,
        *handlers: str,
        service: str = "kit",
        options: QueueOptions = QUICK,
        roles: Collection[Any] | None = None,
        shutdown_timeout: float = 30.0,
    ) -> Process:
        """Return the running process."""
        ...


class DurableContractBase(Contract):
    """What one test of durable messaging has."""

    remote: ClassVar[bool]
    """Whether other services get the events."""
    strict_priority: ClassVar[bool] = True
    """Whether the priority of due messages is kept strictly; else a message that was offered already may come before."""
    transactional: ClassVar[bool]
    """Whether what is published or enqueued in a unit of work is part of it."""

    @pytest.fixture
    def compose(self) -> Compose:
        """Return what makes the containers of a test; a class that derives from the kit overrides it."""
        raise NotImplementedError

    @pytest.fixture
    def seen(self) -> Seen:
        """Return what the handlers of this test have had."""
        return Seen()

    @pytest_asyncio.fixture(loop_scope="function")
    async def start(self, compose: Compose, seen: Seen) -> AsyncIterator[Start]:
        """Return what starts one more process of a service."""
        async with AsyncExitStack() as running:

            async def started(
                *handlers: str,
                service: str = "kit",
                options: QueueOptions = QUICK,
                roles: Collection[Any] | None = None,
                shutdown_timeout: float = 30.0,
            ) -> Process:
                common = CatgaOptions(service_name=service, shutdown_timeout_seconds=shutdown_timeout)
                catga = compose(common, options)
                process = Process(catga, seen, handlers)
                running.push_async_callback(process.stop)
                await process.start(roles)
                return process

            yield started


async def letters(process: Process, count: int, filter: DeadLetterFilter = ALL_LETTERS) -> list[DeadLetter]:
    """Return the dead letters, once there are so many."""

    async def there() -> bool:
        return int(await process.app.dead_letters.count(filter)) == count

    await eventually(there, within=15.0)
    return list((await process.app.dead_letters.find(filter)).letters)


def refused(text: str = "no such address") -> CatgaError:
    """Return an error after which another attempt does not help."""
    return CatgaError(text, code="REFUSED")
