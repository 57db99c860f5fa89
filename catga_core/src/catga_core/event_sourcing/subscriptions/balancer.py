"""`PartitionBalancer`: shares the partitions of a subscription between the processes that run it."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers import Consumer, ConsumerPorts, LeaseLimit, share_of
from catga_core.event_sourcing.consumers.failures import describe
from catga_core.identifiers import new_id
from catga_core.log import PARTITION_SHARING_FAILED, logger
from catga_core.runtime.worker import Worker


class PartitionBalancer:
    """Announces this process to the others, and limits its partitions to its share.

    Each process renews a membership, whose name ends with the number of partitions that it divides the streams into. The number
    of living members gives each its share: a process that has more partitions releases some, one that has fewer waits for them.

    Args:
        ports: What it uses.
        subscription: The subscription's name.
        consumers: One for each partition.
        leases: Limits how many of them hold their lease.
        lease: Seconds without a renewal after which a process counts as dead.
    """

    def __init__(
        self,
        ports: ConsumerPorts,
        subscription: str,
        consumers: Sequence[Consumer],
        leases: LeaseLimit,
        lease: float,
    ) -> None:
        self._ports = ports
        self._subscription = subscription
        self._group = f"subscription:{subscription}"
        self._me = f"{new_id()}/{len(consumers)}"
        self._consumers = consumers
        self._leases = leases
        self._lease = lease
        self._worker = Worker(
            f"balancer of {subscription!r}",
            self.look,
            every=lease / 3,
            clock=ports.clock,
            on_error=lambda error, _delay: self._failed(error),
        )

    async def join(self) -> None:
        """Announce this process, unless another one divides the streams into another number of partitions.

        Raises:
            ConfigurationError: Another process does: an event would go to both.
        """
        memberships = self._ports.memberships
        # Asked before: a process that is refused must not be seen by one that is right.
        self._check_number(await memberships.members(self._group))
        alive = await memberships.announce(self._group, self._me, lease=self._lease)
        try:
            # Of two that start at the same moment, one at least sees the other.
            self._check_number(alive)
        except ConfigurationError:
            await self.stop()
            raise

    def start(self) -> None:
        """Begin in the background; after `join`."""
        self._worker.start()

    async def stop(self) -> None:
        """Leave the partitions to the other processes."""
        await self._worker.stop(cancel=True)
        try:
            await self._ports.memberships.leave(self._group, self._me)
        except Exception as error:  # noqa: BLE001 - the membership ends by itself
            self._failed(error)

    async def look(self) -> None:
        """Renew the membership, and adapt the limit to the number of living members."""
        alive = await self._ports.memberships.announce(self._group, self._me, lease=self._lease)
        alike = [each for each in alive if _number_of(each) == _number_of(self._me)]
        self._leases.change(share_of(alike, self._me, len(self._consumers)))
        surplus = self._leases.surplus
        for consumer in self._consumers:
            if surplus and consumer.progress.name in self._leases.held:
                consumer.give_way()
                surplus -= 1

    def _check_number(self, alive: Sequence[str]) -> None:
        mine = _number_of(self._me)
        other = next((each for each in map(_number_of, alive) if each != mine), None)
        if other is not None:
            msg = (
                f"the subscription {self._subscription!r} has partitions={mine}, and a process that is alive runs it with "
                f"partitions={other}: an event would go to both. Use partitions={other}, or stop that process first (one that was "
                f"killed counts as alive for {self._lease:g} s)"
            )
            raise ConfigurationError(msg)

    def _failed(self, error: Exception) -> None:
        logger().warning(PARTITION_SHARING_FAILED, subscription=self._subscription, error=describe(error))


def _number_of(member: str) -> str:
    return member.rpartition("/")[2]
