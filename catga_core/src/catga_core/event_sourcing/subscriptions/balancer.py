"""`PartitionBalancer`: shares the partitions of a subscription between the processes that run it."""

from __future__ import annotations

from collections.abc import Sequence

from catga_core.event_sourcing.consumers import Consumer, ConsumerPorts, LeaseLimit, share_of
from catga_core.event_sourcing.consumers.failures import describe
from catga_core.identifiers import new_id
from catga_core.log import PARTITION_SHARING_FAILED, logger
from catga_core.runtime.worker import Worker

_MICROSECONDS = 1_000_000
_FORGOTTEN_AFTER = 10  # leases: then the checkpoint of a dead member is removed


class PartitionBalancer:
    """Announces this process to the others, and limits its partitions to its share.

    Each process renews a membership. The number of living members gives each its share: a process that has more partitions
    releases some, one that has fewer waits for them.

    Args:
        ports: What it uses.
        stem: The beginning of the names of the subscription's checkpoints.
        consumers: One for each partition.
        leases: Limits how many of them hold their lease.
        lease: Seconds of the clock without a renewal after which a process is dead.
    """

    def __init__(
        self,
        ports: ConsumerPorts,
        stem: str,
        consumers: Sequence[Consumer],
        leases: LeaseLimit,
        lease: float,
    ) -> None:
        self._ports = ports
        self._stem = f"{stem}:member:"
        self._me = f"{self._stem}{new_id()}"
        self._consumers = consumers
        self._leases = leases
        self._lease = lease
        self._worker = Worker(
            f"balancer of {stem}",
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
            await self._ports.checkpoints.delete(self._me)
        except Exception as error:  # noqa: BLE001 - the membership ends by itself
            self._failed(error)

    async def look(self) -> None:
        """Renew the membership, and adapt the limit to the number of living members."""
        checkpoints = self._ports.checkpoints
        await checkpoints.save(self._me, 0)
        now = self._ports.clock.time()
        alive: list[str] = []
        for each in await checkpoints.list():
            if not each.name.startswith(self._stem):
                continue
            silent = now - each.updated_at / _MICROSECONDS
            if silent < self._lease:
                alive.append(each.name)
            elif silent > self._lease * _FORGOTTEN_AFTER and each.name != self._me:
                await checkpoints.delete(each.name)
        self._leases.change(share_of(alive, self._me, len(self._consumers)))
        surplus = self._leases.surplus
        for consumer in self._consumers:
            if surplus and consumer.progress.name in self._leases.held:
                consumer.give_way()
                surplus -= 1

    def _failed(self, error: Exception) -> None:
        logger().warning(PARTITION_SHARING_FAILED, subscription=self._stem, error=describe(error))
