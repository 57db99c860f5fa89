"""The port of the durable transport: what keeps published events and enqueued commands until they are handled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces.health import Health
from catga_core.interfaces.port import port
from catga_core.interfaces.queue import (
    ALL_QUEUED,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueuePage,
    QueueStats,
)
from catga_core.messages import MessageKind


class QueueDefinition(msgspec.Struct, frozen=True):
    """One queue of a service: the messages of one handler.

    Args:
        name: Its name, the same in every replica of the service and in every version of it.
        kind: `EVENT` for a handler of events, `COMMAND` for enqueued commands.
        messages: The wire names of the messages that it takes.
        handler: The handler's name.
        concurrency: How many of its messages one process handles at the same time.
        lease: Seconds after which another process takes over the messages of one that died; renewed meanwhile.
        confirms: Whether the end of a message is to be confirmed by the transport, because it must not be redelivered.
    """

    name: str
    kind: MessageKind
    messages: tuple[str, ...]
    handler: str
    concurrency: int
    lease: float
    confirms: bool = False


class DurableCapabilities(msgspec.Struct, frozen=True):
    """What a durable transport can do; the contract kit tests what is claimed and nothing less.

    Args:
        durable: Whether messages outlive the processes.
        remote: Whether other services get the events: otherwise they go to the queues declared in this composition.
        transactional: Whether what is published or settled in a unit of work of the container's storage is part of it.
    """

    durable: bool
    remote: bool
    transactional: bool


class KeyFence(msgspec.Struct, eq=False):
    """What the effects of the messages of some keys are committed with, while a process owns these keys.

    A transport whose owners are not decided in the container's storage makes a new one each time that this process becomes the owner.
    The consumer of the queue sets a random token, which it has written to the storage; a commit requires that it is still there.

    Args:
        name: What the token is kept under: the same in each process that may own these keys, and of no other keys.
        confirm: Asks whether this process owns the keys, whatever its clock says; may raise `CatgaError`.
        token: The token; `None` until the first unit of work, and where another one is to be written.
        turn: Held while the token is written.
    """

    name: str
    confirm: Callable[[], Awaitable[bool]]
    token: int | None = None
    turn: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


class Received(Protocol):
    """A message that was received and has to be settled."""

    @property
    def queue(self) -> str:
        """The queue."""
        ...

    @property
    def message(self) -> QueuedMessage:
        """The message."""
        ...

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1. An attempt that ended with its process counts."""
        ...

    @property
    def error(self) -> str | None:
        """What the last failed attempt failed with, `None` where that is not known."""
        ...

    @property
    def held(self) -> bool:
        """Whether it is this process's, as far as is known here without asking: `False` once another one may have it."""
        ...

    @property
    def fence(self) -> KeyFence | None:
        """What its effects are committed with; `None` for a message without a key, and where `require` is enough."""
        ...


@port("durable_transport")
@runtime_checkable
class DurableTransport(Protocol):
    """Keeps messages in queues until they are handled, and gives each to one process at a time.

    It is a hosted service: between `start` and `stop` messages can be published, received and settled. Messages of one queue
    and key are given in order, one at a time: while one of a key is not settled, or waits for its next attempt, no later one of
    that key is given, to this process or to another.
    """

    @property
    def capabilities(self) -> DurableCapabilities:
        """What this transport can do."""
        ...

    async def start(self) -> None:
        """Return when messages can be published.

        Raises:
            ConfigurationError: The options cannot work, or the server cannot keep the promises asked for.
            CatgaError: `TRANSPORT_FAILED` or `PERSISTENCE_FAILED` when it cannot be reached.
        """
        ...

    async def declare(self, queues: Sequence[QueueDefinition], /) -> None:
        """Declare the queues of this process; from then on they get what is published for them. It may be repeated.

        Raises:
            ConfigurationError: A queue exists with other settings, or cannot be declared; nothing is half declared.
        """
        ...

    async def publish(self, message: QueuedMessage, /) -> None:
        """Add an event to every queue that takes it, of every service; return when it is kept.

        Where the transport is transactional, the event is part of the ambient unit of work. A repetition of an id within the
        transport's window adds nothing.

        Raises:
            CatgaError: It is not known to be kept; repeat it with the same id.
        """
        ...

    async def enqueue(self, message: QueuedMessage, /) -> None:
        """Add a command to its queue, `command_queue(message.name)`; return when it is kept. As `publish` else."""
        ...

    async def receive(self, queue: str, /, *, limit: int, timeout: float) -> Sequence[Received]:
        """Return messages of a declared queue that are due, for this process to settle.

        Args:
            queue: The queue.
            limit: How many at most.
            timeout: Real seconds to wait for the first one. If the caller is cancelled, nothing stays received.

        Returns:
            Messages; none after the timeout.
        """
        ...

    async def extend(self, received: Sequence[Received], /) -> Sequence[Received]:
        """Keep messages that take longer than the queue's lease; return those that are still this process's."""
        ...

    async def complete(self, received: Received, /, *, result: bytes | None = None) -> None:
        """Record that a message was handled.

        Args:
            received: The message.
            result: Kept for `get`; `None` for none.

        Raises:
            LeaseLostError: In a unit of work that the transport takes part in, another process has the message; where writes are
                collected, the commit raises it.
            CatgaError: It is not known to be recorded: the message may be delivered again.
        """
        ...

    async def require(self, received: Received, /) -> None:
        """Require that a message is this process's when the ambient unit of work is committed.

        A transport that is not transactional asks at this moment, as far as is known here; `Received.fence` does the rest.

        Raises:
            LeaseLostError: Another process may have it. Where writes are collected, the commit raises it.
        """
        ...

    async def retry(self, received: Received, /, *, delay: float, error: str) -> None:
        """Have a message delivered again after a number of seconds; later ones of its key wait for it."""
        ...

    async def release(self, received: Sequence[Received], /) -> None:
        """Give messages back unhandled, due at once."""
        ...

    async def discard(self, received: Received, /, *, hold_key: bool = False) -> bool:
        """Remove a message whose dead letter was written.

        Args:
            received: The message.
            hold_key: Whether later messages of its key in this queue are held until `release_key`.

        Returns:
            Whether it was removed: `False` where another process has it.
        """
        ...

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Deliver the messages of a held key, in order; return whether it was held."""
        ...

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a message that no attempt of runs; return whether it was removed."""
        ...

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a message, done or not; `None` where there is none, or it is not known any more."""
        ...

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the messages that are not done and match a filter, a page at a time."""
        ...

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each declared queue."""
        ...

    async def stop(self) -> None:
        """Receive nothing more, and release everything."""
        ...

    def health(self) -> Health:
        """Return the state as it is now."""
        ...


def event_queue(service_name: str, handler: str) -> str:
    """Return the name of the queue of an event handler.

    Args:
        service_name: The service.
        handler: The handler's name.
    """
    return f"event:{service_name}:{handler}"


def command_queue(name: str) -> str:
    """Return the name of the queue of a command, which the services that handle it share.

    Args:
        name: The command's wire name.
    """
    return f"command:{name}"
