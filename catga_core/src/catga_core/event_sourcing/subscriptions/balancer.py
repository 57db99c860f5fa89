"""`PartitionBalancer`: shares the partitions of a subscription between the processes that run it."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core.event_sourcing.consumers import Consumer, ConsumerPorts, LeaseLimit, share_of
from catga_core.event_sourcing.consumers.failures import describe
from catga_core.identifiers import new_id
from catga_core.log import PARTITION_SHARING_FAILED, logger
from catga_core.runtime.worker import Worker


class PartitionBalancer:
    """Announces this process to the others, and limits its partitions to its share.

    Each process renews a membership. The number of living members gives each its share: a process that has more partitions
    releases some, one that has fewer waits for them.

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
        self._me = new_id()
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

    def start(self) -> None:
        """Begin in the background."""
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
        self._leases.change(share_of(alive, self._me, len(self._consumers)))
        surplus = self._leases.surplus
        for consumer in self._consumers:
            if surplus and consumer.progress.name in self._leases.held:
                consumer.give_way()
                surplus -= 1

    def _failed(self, error: Exception) -> None:
        logger().warning(PARTITION_SHARING_FAILED, subscription=self._subscription, error=describe(error))
