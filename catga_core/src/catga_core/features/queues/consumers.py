"""`QueueConsumers`: the hosted service that consumes every queue of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, ClassVar, TypeVar

from catga_core.clock import Clock
from catga_core.features.queues.attempt import attempt_id
from catga_core.features.queues.consumer import QueueConsumer
from catga_core.features.queues.handling import Handling
from catga_core.features.queues.settling import Counters
from catga_core.interfaces.durable_transport import DurableTransport, QueueDefinition
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.log import LEASE_NOT_RENEWED, LEFT_IN_FLIGHT, logger
from catga_core.runtime.retry import RetryPolicy
from catga_core.runtime.worker import Worker

T = TypeVar("T")

_SHARE = 0.8


class QueueConsumers:
    """Declares the queues of this process and consumes them.

    When it stops, it finishes the messages that are handled, and gives back the rest; queues in memory are first emptied of what
    is due.

    Args:
        definitions: Returns the queues.
        handling: Handles and settles one message.
        transport: Returns the current durable transport.
        clock: The container's clock.
        lease: Seconds of a lease; renewed after a third of it.
        counters: What was done so far.
        patience: Returns the seconds in which what is handled is to be finished at the stop; it is given back after that.
    """

    # Before its handlers are ready, this process would handle nothing.
    starts_after_serving: ClassVar[bool] = True

    def __init__(
        self,
        definitions: Callable[[], Sequence[QueueDefinition]],
        handling: Handling,
        transport: Callable[[], DurableTransport],
        clock: Clock,
        lease: float,
        counters: Counters,
        patience: Callable[[], float],
    ) -> None:
        self._definitions = definitions
        self._handling = handling
        self._transport = transport
        self._clock = clock
        self._counters = counters
        self._patience = patience
        self._consumers: list[QueueConsumer] = []
        self._lease = lease
        third, tenth = lease / 3, lease / 10
        self._renewals = Worker(
            "queue lease renewal",
            self._renew,
            every=third,
            clock=clock,
            first=False,
            retry=RetryPolicy(max_attempts=None, delay_seconds=tenth, max_delay_seconds=tenth),
            on_error=_not_renewed,
        )

    @property
    def queues(self) -> Collection[str]:
        """The names of the queues that this process consumes."""
        return frozenset(each.definition.name for each in self._consumers)

    @property
    def stops_after_messages(self) -> bool:
        """Whether it must outlive the messages in flight: what they publish would be lost with this process."""
        return not self._transport().capabilities.durable

    async def start(self) -> None:
        """Declare the queues, and begin to receive."""
        definitions = self._definitions()
        await self._transport().declare(definitions)
        self._consumers = [
            QueueConsumer(each, self._handling, self._transport, self._clock) for each in definitions
        ]
        self._renewals.start()
        for each in self._consumers:
            each.start()

    async def stop(self) -> None:
        """Receive nothing more, and finish what is handled."""
        consumers = self._consumers
        try:
            # A part of the time is left for giving back.
            async with asyncio.timeout(_SHARE * self._patience()):
                await _together([each.stop() for each in consumers])
                if self.stops_after_messages:
                    # What is handled may publish for a queue that was empty before.
                    while any(await _together([each.flush() for each in consumers])):
                        pass
                await _together([each.finish() for each in consumers])
        except TimeoutError:
            logger().warning(LEFT_IN_FLIGHT, queues=[each.definition.name for each in self._consumers])
        finally:
            try:
                await _together([each.give_back() for each in consumers])
            finally:
                await self._renewals.stop(cancel=True)

    def health(self) -> Health:
        """Return whether every queue can be read, and what was done."""
        details = {
            "queues": len(self._consumers),
            "in_flight": sum(len(each.attempts) for each in self._consumers),
            "handled": self._counters.handled,
            "retried": self._counters.retried,
            "dead": self._counters.dead,
        }
        failing = [each for each in self._consumers if each.last_error is not None]
        if failing:
            text = f"the queue {failing[0].definition.name} cannot be read: {failing[0].last_error}"
            return Health(HealthStatus.UNHEALTHY, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    async def _renew(self) -> None:
        """Extend what is handled; cancel the handlers of messages that are not this process's any more."""
        attempts = [attempt for each in self._consumers for attempt in each.attempts]
        if not attempts:
            return
        began, tenth = self._clock.monotonic(), self._lease / 10
        first = min(each.until for each in attempts)
        try:
            # A transport that hangs must not keep handlers from learning that their time is over.
            async with asyncio.timeout(max(first - began, tenth)):
                kept = await self._transport().extend([each.received for each in attempts])
        except Exception:
            for each in attempts:
                # By the next try it would be too late.
                if each.strict and self._clock.monotonic() >= each.until - 1.5 * tenth:
                    each.lose()
            raise
        own = set(map(attempt_id, kept))
        for each in attempts:
            if attempt_id(each.received) in own:
                each.until = began + self._lease
            else:
                each.lose()


def _not_renewed(error: Exception, _delay: float) -> None:
    logger().warning(LEASE_NOT_RENEWED, thing="messages of queues", error=f"{type(error).__name__}: {error}")


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
    return [each.result() for each in tasks]
