"""`JetStreamQueues`: the durable transport over NATS JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from catga_core.clock import Clock
from catga_core.errors import (
    CatgaError,
    ConfigurationError,
    MessageIdConflictError,
    Outcome,
    PersistenceError,
    TransportError,
)
from catga_core.interfaces.durable_transport import (
    DurableCapabilities,
    QueueDefinition,
    Received,
    command_queue,
)
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.queue import (
    ALL_QUEUED,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueuePage,
    QueueStats,
)
from catga_core.log import JETSTREAM_DURABILITY, logger
from catga_core.messages.fingerprints import same_content
from catga_core.runtime.home_loop import HomeLoop
from catga_nats.connection import NatsConnection
from catga_nats.counters import Counters
from catga_nats.jetstream import wire
from catga_nats.jetstream.api import WRONG_LAST_SEQUENCE, ApiError, NoJetStreamError
from catga_nats.jetstream.cancelling import Cancelling
from catga_nats.jetstream.declaring import Declarations
from catga_nats.jetstream.intake import Intake
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.looking import Looking
from catga_nats.jetstream.publishing import Publishing
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.schedules import OwnSchedules, schedule_headers
from catga_nats.jetstream.state import Bucket, failed, unanswered
from catga_nats.jetstream.weaknesses import weaknesses_at
from catga_nats.options import NatsOptions

_ANSWER_SECONDS = 0.5
_STOP_SECONDS = 5.0


class JetStreamQueues:
    """Keeps events and commands in JetStream until their queues have settled them.

    It has a connection of its own, so that requests do not wait behind deliveries.

    Args:
        options: The options of NATS, with those of JetStream in them.
        clock: Tells which commands are due later.
    """

    def __init__(self, options: NatsOptions, clock: Clock) -> None:
        self._options = replace(options, name=f"{options.name}-queues")
        self._jetstream = options.jetstream
        self._clock = clock
        self._layout = Layout(options.subject_prefix, self._jetstream.order_groups)
        self._connection = NatsConnection(self._options, Counters())
        self._declaring = asyncio.Lock()
        # Set, and replaced, when queues were declared.
        self._grown = asyncio.Event()
        self._home = HomeLoop()
        self._open = False

    @property
    def capabilities(self) -> DurableCapabilities:
        """It outlives processes, reaches other services, and takes no part in units of work."""
        return DurableCapabilities(durable=True, remote=True, transactional=False)

    async def start(self) -> None:
        """Return when the streams are declared and messages can be published.

        Raises:
            ConfigurationError: The server has no JetStream, or its streams have other settings.
            CatgaError: `TRANSPORT_FAILED`: no server, or no permission.
        """
        connection = self._connection = NatsConnection(self._options, Counters())
        self._home.enter()
        await connection.start()
        try:
            self._state = Bucket(connection, self._layout.state_bucket)
            self._results = Bucket(connection, self._layout.results_bucket)
            await connection.subscribe([self._state.subscription])
            self._declarations = Declarations(
                connection, self._layout, self._jetstream, self._state, self._declared_again
            )
            await self._declarations.prepare()
            by_server = self._declarations.server_schedules
            weak = await weaknesses_at(
                connection,
                self._layout,
                self._jetstream,
                server_schedules=by_server,
                request_timeout=self._options.request_timeout,
            )
        except (ApiError, NoJetStreamError) as error:
            await connection.close()
            raise _unusable(error) from error
        except BaseException:
            await connection.close()
            raise
        missing = self._declarations.missing
        self._publishing = Publishing(connection, self._options.request_timeout, missing)
        self._intake = Intake(
            connection, self._layout, self._jetstream, self._state, self._publishing, missing
        )
        self._looking = Looking(connection, self._layout, self._state, self._results)
        self._cancelling = Cancelling(
            connection,
            self._layout,
            self._state,
            self._looking,
            self._jetstream.duplicate_window_seconds,
            server_schedules=by_server,
        )
        self._schedules = (
            None
            if by_server
            else OwnSchedules(connection, self._layout, self._publishing, self._clock, missing)
        )
        self._intake.start()
        self._declarations.start()
        self._open = True
        if weak:
            logger().warning(JETSTREAM_DURABILITY, settings=weak)

    async def declare(self, queues: Sequence[QueueDefinition], /) -> None:
        """Declare queues at the server; this process takes part in each from its first `receive` on.

        Raises:
            ConfigurationError: A consumer exists with other settings, or cannot be declared.
            CatgaError: The server does not answer.
        """
        self._check_open()
        async with self._declaring:
            new = [each for each in queues if not self._declarations.covers(each)]
            if not new:
                return
            try:
                existing = await self._declarations.declare(new)
            except (ApiError, NoJetStreamError) as error:
                raise _unusable(error) from error
            await self._intake.open(existing)
            self._declarations.add(new)
            self._grown.set()
            self._grown = asyncio.Event()

    async def publish(self, message: QueuedMessage, /) -> None:
        """Add an event to the queues of every service; return when the server has acknowledged it.

        Raises:
            MessageIdConflictError: The server knows the id, and still has another message under it.
            CatgaError: It is not known to be kept; repeat it with the same id within the duplicate window.
        """
        self._check_open()
        subject = self._layout.event(message.name, message.key)
        kept = await self._publishing.publish(subject, message.data, wire.encode(message), message.name)
        if kept.duplicate:
            await self._check_repetition(message, kept)

    async def enqueue(self, message: QueuedMessage, /) -> None:
        """Add a command to its queue, now or at its time; return when the server has acknowledged it.

        Raises:
            CatgaError: As `publish`.
        """
        self._check_open()
        message_id = message.context.message_id
        subject = self._layout.command(message.name, message.key, message.priority, message_id)
        headers = wire.encode(message)
        if message.due_at > self._clock.time():
            if self._schedules is None:
                headers |= schedule_headers(subject, message.due_at)
            # One that waits keeps its time, also when it is repeated after the duplicate window.
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
            subject = self._layout.schedule(message.name, message_id)
        try:
            kept = await self._publishing.publish(subject, message.data, headers, message.name)
        except PersistenceError as error:
            if error.details.get("jetstream_error") != WRONG_LAST_SEQUENCE:
                raise
            await self._check_scheduled(message)
            return
        if kept.duplicate:
            cancelled = await self._cancelling.cancelled(command_queue(message.name), message_id)
            if cancelled is not None:
                # The server knows the id of a command that was cancelled since; this one is another, and is kept once too.
                headers[wire.MESSAGE_ID] += f":{cancelled}"
                await self._publishing.publish(subject, message.data, headers, message.name)
            else:
                await self._check_repetition(message, kept)

    async def _check_scheduled(self, message: QueuedMessage) -> None:
        """Refuse another command under the id of one that waits for its time."""
        waiting = await self._looking.get(command_queue(message.name), message.context.message_id)
        if waiting is not None and not same_content(waiting.message.fingerprint, message.fingerprint):
            raise MessageIdConflictError(message.context.message_id, "JetStream")

    async def _check_repetition(self, message: QueuedMessage, kept: wire.Acknowledged) -> None:
        """Refuse another message under an id that the server knows, as long as it has the first one to compare with."""
        known = await self._looking.fingerprint_at(kept.stream, kept.seq)
        if known is not None and not same_content(known, message.fingerprint):
            raise MessageIdConflictError(message.context.message_id, "JetStream")

    async def receive(self, queue: str, /, *, limit: int, timeout: float) -> Sequence[JetMessage]:
        """Return messages of a declared queue; none after the timeout."""
        self._check_open()
        if self._schedules is not None:
            await self._schedules.start()
        if queue in self._declarations and not self._intake.has(queue):
            # Nothing is known yet that it takes.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), timeout)
            return []
        return await self._intake.receive(queue, limit, timeout)

    async def extend(self, received: Sequence[Received], /) -> Sequence[Received]:
        """Keep messages for another lease; return those that are still this process's.

        Raises:
            TransportError: There is no connection to keep them over.
        """
        self._check_open()
        client = self._connection.client
        if client is None or not client.takes_more:
            text = "the leases of messages cannot be renewed: there is no connection to NATS. They are renewed once it is back."
            raise TransportError(text, outcome=Outcome.NOT_SENT)
        return self._intake.settling.extend([_own(each) for each in received])

    async def complete(self, received: Received, /, *, result: bytes | None = None) -> None:
        """Acknowledge a message that was handled.

        Raises:
            LeaseLostError: Another process may have it.
            CatgaError: It is not known to be acknowledged.
        """
        self._check_open()
        message = _own(received)
        if result is not None:
            self._intake.settling.expect(message)
            await self._looking.keep_result(message, result)
        await self._intake.settling.complete(message)

    async def require(self, received: Received, /) -> None:
        """Require that a message is this process's by its leases.

        Raises:
            LeaseLostError: Another process may have it.
        """
        self._check_open()
        self._intake.settling.expect(_own(received))

    async def retry(self, received: Received, /, *, delay: float, error: str) -> None:  # noqa: ARG002 - the server keeps none
        """Have a message delivered again after a number of seconds."""
        self._check_open()
        self._intake.settling.retry(_own(received), delay)

    async def release(self, received: Sequence[Received], /) -> None:
        """Give messages back unhandled; their deliveries count as no attempts."""
        self._check_open()
        await self._intake.settling.release([_own(each) for each in received])

    async def discard(self, received: Received, /, *, hold_key: bool = False) -> bool:
        """End a message whose dead letter was written; return `False` where another process may have it."""
        self._check_open()
        message = _own(received)
        held = self._intake.held
        if (
            hold_key
            and message.message.key is not None
            and self._intake.reader(message.queue).is_known(message)
        ):
            await held.hold(message)
        removed = await self._intake.settling.discard(message)
        if removed and hold_key:
            held.discarded(message)
        return removed

    async def release_key(self, queue: str, key: str, /) -> bool:
        """Deliver the messages of a held key, in order; return whether it was held."""
        self._check_open()
        return await self._intake.held.release(queue, key)

    async def cancel(self, queue: str, message_id: str, /) -> bool:
        """Remove a command that no process has been given; return whether it was removed."""
        self._check_open()
        return await self._cancelling.cancel(queue, message_id)

    async def get(self, queue: str, message_id: str, /) -> QueueEntry | None:
        """Return a command that waits, or whose result is kept; `None` for any other message."""
        self._check_open()
        return await self._looking.get(queue, message_id)

    async def find(
        self, filter: QueueFilter = ALL_QUEUED, /, *, after: str | None = None, limit: int = 100
    ) -> QueuePage:
        """Return the commands that are not done; the server does not tell which events a queue has."""
        self._check_open()
        return await self._looking.find(filter, after, limit)

    async def stats(self) -> Mapping[str, QueueStats]:
        """Return the state of each queue that is declared here, and of those that a renamed or removed handler has left behind."""
        self._check_open()
        return await self._looking.stats(self._declarations.queues, self._intake.has)

    async def stop(self) -> None:
        """Give back what is here, and close the connection."""
        if not self._open:
            return
        self._open = False
        if not self._home.is_here:
            self._connection.abandon()
            return
        await self._declarations.stop()
        # Asked first, so that a server that hangs or is away does not use up the time that a stop may take.
        answers = await self._connection.flush(_ANSWER_SECONDS)
        try:
            if answers:
                # Where it ends to answer, the leases run out.
                with suppress(CatgaError, TimeoutError):
                    async with asyncio.timeout(_STOP_SECONDS):
                        if self._schedules is not None:
                            await self._schedules.stop()
                        await self._intake.stop()
        finally:
            try:
                if self._schedules is not None:
                    await self._schedules.close()
                await self._intake.close()
            finally:
                await (self._connection.close() if answers else self._connection.close(0))

    def health(self) -> Health:
        """Return the connection's state as it is now."""
        if not self._open:
            return Health(HealthStatus.UNHEALTHY, "not started", {"state": "new"})
        health = self._connection.health()
        if health.status is not HealthStatus.HEALTHY:
            return health
        refused = {
            each.definition.name: why for each in self._intake.readers if (why := each.refused) is not None
        }
        if not refused:
            return health
        queue, why = next(iter(refused.items()))
        text = f"JetStream serves no messages of the queue {queue} ({why})"
        return Health(HealthStatus.DEGRADED, text, {**health.details, "state": "refused", "refused": refused})

    def _declared_again(self) -> None:
        for each in self._intake.readers:
            each.connected()

    def _check_open(self) -> None:
        if not self._open or self._home.loop is not asyncio.get_running_loop():
            problem = self._home.problem() if self._open else None
            text = f"the JetStream queues {problem or 'are not started: use them between start and stop'}"
            raise TransportError(text, retryable=False)


def _own(received: Received) -> JetMessage:
    if not isinstance(received, JetMessage):
        msg = f"{type(received).__name__} was not received from this transport. Settle it where it came from."
        raise TypeError(msg)
    return received


def _unusable(error: ApiError | NoJetStreamError) -> CatgaError | ConfigurationError:
    return failed(error) if isinstance(error, ApiError) else unanswered()
