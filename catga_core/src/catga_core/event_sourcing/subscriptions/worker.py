"""`SubscriptionWorker`: one consumer for each partition, each with its own lease and checkpoint."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import ClassVar

from catga_core.errors import CatgaError, ConfigurationError, ErrorCode
from catga_core.event_sourcing.consumers import (
    Consumer,
    ConsumerPorts,
    ConsumerWork,
    LeaseLimit,
    LogLosses,
    Monitor,
    OnLogLoss,
    Progress,
    Replayed,
    Selection,
    UnknownEvents,
    consumer_health,
    replay_parked,
    wait_until,
)
from catga_core.event_sourcing.consumers.work import Handle
from catga_core.event_sourcing.subscriptions.balancer import PartitionBalancer
from catga_core.event_sourcing.subscriptions.definition import (
    Start,
    SubscriptionDefinition,
    partition_of,
)
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.interfaces.health import Health
from catga_core.interfaces.named_values import NamedValueConflictError
from catga_core.messages.delivery import Delivery


class SubscriptionWorker:
    """Runs one subscription.

    Args:
        definition: The subscription.
        ports: What it uses.
        handle: Handles one event.
    """

    starts_before_senders: ClassVar[bool] = True

    def __init__(self, definition: SubscriptionDefinition, ports: ConsumerPorts, handle: Handle) -> None:
        self.name: str = definition.name
        self._definition = definition
        self._ports = ports
        self._now = 0
        stream = None if definition.stream == "*" else definition.stream
        self._unknown = UnknownEvents(
            ports.types, {"subscription": self.name}, definition.options.ignore_unknown
        )
        self._selection = Selection(ports.types, definition.events, stream=stream, unknown=self._unknown)
        self._losses = LogLosses("subscription", self.name)
        self._leases = LeaseLimit(definition.partitions)
        self._works = [self._work(partition, handle) for partition in range(definition.partitions)]
        self._consumers = [Consumer(ports, work, definition.options) for work in self._works]
        self._balance = PartitionBalancer(
            ports, definition.name, self._consumers, self._leases, definition.options.lease_seconds
        )
        self._observer = Monitor(
            ports, self.name, lambda: self.parts, definition.options.poll_seconds, self._losses
        )

    @property
    def parts(self) -> Sequence[Progress]:
        """The progress of each partition."""
        return [each.progress for each in self._consumers]

    async def start(self) -> None:
        """Begin in the background.

        Raises:
            ConfigurationError: It was run with another number of partitions before, or another process does so now.
        """
        await self._balance.join()
        try:
            await self._check_partitions()
            if self._definition.start is Start.NOW:
                # Known when the start returns: events appended from here on are handled, whichever process works.
                self._now = await self._ports.log.head()
                await self._keep_the_beginning()
        except BaseException:
            # The container does not stop a service that has not started.
            await self._balance.stop()
            raise
        self._balance.start()
        for each in self._consumers:
            each.start()
        self._observer.start()

    async def stop(self) -> None:
        """Finish the units of work that run, save the checkpoints, release the leases."""
        try:
            await asyncio.gather(*(each.stop() for each in self._consumers))
        finally:
            await self._balance.stop()
            await self._observer.stop()

    def health(self) -> Health:
        """Return its state, how far it is behind, and what is parked."""
        return consumer_health(
            self.parts,
            self._definition.delivery.replace("_", " "),
            self._ports.clock.time(),
            self._unknown.counts(),
            self._losses,
        )

    async def wait_for(self, position: int, timeout: float) -> None:
        """Return when every partition is done up to a position."""
        await wait_until(
            lambda: self.parts, self._ports, position, timeout, f"the subscription {self.name!r}"
        )

    def resume(self) -> None:
        """Go on after an event that stopped it."""
        self._losses.acknowledge()
        for each in self._consumers:
            each.resume()

    async def replay_parked(self) -> Replayed:
        """Replay parked events."""
        outcome = await replay_parked(self._ports, self.name, self._work_of)
        await self.has_replayed()
        return outcome

    async def work_for(self, letter: DeadLetter) -> ConsumerWork | None:
        """Return what handles a parked event in a replay, `None` for one of another consumer."""
        return self._work_of(letter)

    async def has_replayed(self) -> None:
        """Go on after a replay."""
        for each in self._consumers:
            # The replay has taken its checkpoint over; it need not wait any longer.
            each.return_to_work()
        await self._observer.look()

    def _work_of(self, letter: DeadLetter) -> ConsumerWork | None:
        return next((each for each in self._works if letter.id.startswith(f"{each.key}/")), None)

    def _work(self, partition: int, handle: Handle) -> ConsumerWork:
        definition = self._definition
        wants = self._selection.wants
        if definition.partitions > 1:
            wants = functools.partial(self._wants_of, partition)
        return ConsumerWork(
            name=definition.name,
            kind="subscription",
            key=definition.key(partition),
            wants=wants,
            handle=handle,
            start=self._first_position,
            transactional=definition.delivery is Delivery.EXACTLY_ONCE,
            confirm=self._confirm_partitions,
            still_wanted=self._are_partitions_current,
            superseded="other processes run it with another number of partitions",
            losses=self._losses,
            on_log_loss=lambda: definition.options.on_log_loss or OnLogLoss.STOP,
            leases=self._leases if definition.partitions > 1 else None,
        )

    def _wants_of(self, partition: int, recorded: RecordedEvent) -> bool:
        mine = partition_of(recorded.stream_id, self._definition.partitions) == partition
        return mine and self._selection.wants(recorded)

    async def _first_position(self) -> int:
        start = self._definition.start
        if isinstance(start, Start):
            return self._now if start is Start.NOW else 0
        return start

    async def _keep_the_beginning(self) -> None:
        checkpoints = self._ports.checkpoints
        for work in self._works:
            if await checkpoints.load(work.key) is not None:
                continue
            try:
                await checkpoints.save(work.key, self._now, expected_position=0)
            except CatgaError as error:
                # Another process was first: it started earlier.
                if error.code not in {ErrorCode.CONFLICT, ErrorCode.LOCKED}:
                    raise

    async def _check_partitions(self) -> None:
        """Check that every process divides the streams in the same way, now and in the future."""
        name, values = self._partitions_name, self._ports.values
        wanted = self._definition.partitions
        stored = await values.get(name)
        if stored == wanted:
            return
        if stored is not None and await self._has_checkpoints():
            msg = (
                f"the subscription {self.name!r} has partitions={wanted}, and was run with partitions={stored} before, so its "
                f"checkpoints do not fit: keep {stored}, give it another name, or stop every process that runs it and delete its "
                "checkpoints to handle all events again"
            )
            raise ConfigurationError(msg)
        try:
            await values.compare_and_set(name, wanted, expected=stored)
        except NamedValueConflictError as conflict:
            if conflict.actual != wanted:
                msg = (
                    f"the subscription {self.name!r} has partitions={wanted}, and a process has just started it with "
                    f"partitions={conflict.actual}: use one number in all processes"
                )
                raise ConfigurationError(msg) from None

    @property
    def _partitions_name(self) -> str:
        return f"{self._definition.stem}:partitions"

    async def _are_partitions_current(self) -> bool:
        """Return whether the number of partitions is still this one: it may change while this process stands still."""
        stored = await self._ports.values.get(self._partitions_name)
        # None: the storage was emptied, and the next claim sets the number again.
        return stored is None or stored == self._definition.partitions

    async def _confirm_partitions(self) -> None:
        values, wanted = self._ports.values, self._definition.partitions
        stored = await values.get(self._partitions_name)
        await values.compare_and_set(
            self._partitions_name, wanted, expected=None if stored is None else wanted
        )

    async def _has_checkpoints(self) -> bool:
        stem = self._definition.stem
        kept = await self._ports.checkpoints.list()
        # One at 0 was saved when a process took the partition, which may be long before its first event.
        return any(each.position and (each.name == stem or each.name.startswith(f"{stem}:")) for each in kept)
