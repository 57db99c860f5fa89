"""The ports of consumers: one constructor parameter for everything that they use."""

from __future__ import annotations

from typing import ClassVar

from catga_core.clock import Clock
from catga_core.event_sourcing.event_types import EventTypes
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.memberships import MembershipStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.storage import Storage
from catga_core.reliability import Locks
from catga_core.runtime.log_reader import LogReader


class ConsumerPorts:
    """What consumers use.

    Args:
        storage: The storage of the checkpoints: its unit of work spans them and the effects.
        log: The event log.
        reader: Reads the log for all consumers of the process.
        checkpoints: How far each consumer is.
        values: Numbers that processes agree on, in the same storage: generations, partitions.
        memberships: The processes that share a subscription.
        dead_letters: Keeps parked events.
        locks: Leases: one process at a time works for a consumer.
        types: The classes of the events.
        clock: The container's clock.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self,
        storage: Storage,
        log: EventLog,
        reader: LogReader,
        checkpoints: CheckpointStore,
        values: NamedValueStore,
        memberships: MembershipStore,
        dead_letters: DeadLetterStore,
        locks: Locks,
        types: EventTypes,
        clock: Clock,
    ) -> None:
        self.storage: Storage = storage
        self.log: EventLog = log
        self.reader: LogReader = reader
        self.checkpoints: CheckpointStore = checkpoints
        self.values: NamedValueStore = values
        self.memberships: MembershipStore = memberships
        self.dead_letters: DeadLetterStore = dead_letters
        self.locks: Locks = locks
        self.types: EventTypes = types
        self.clock: Clock = clock
