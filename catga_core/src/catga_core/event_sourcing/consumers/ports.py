"""What following the log takes: one parameter for all that workers ask of a container."""

from __future__ import annotations

from typing import ClassVar

from catga_core.clock import Clock
from catga_core.event_sourcing.event_types import EventTypes
from catga_core.interfaces.checkpoints import CheckpointStore
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.storage import Storage
from catga_core.reliability import Locks


class FollowerPorts:
    """The ports a follower uses.

    Parameters:
        storage: where the checkpoints are: its unit of work spans them and the effects.
        log: what is followed.
        checkpoints: how far it has come.
        dead_letters: where parked events go.
        locks: one owner at a time.
        types: the classes of the events.
        clock: the container's.
    """

    __catga_default__: ClassVar[bool] = True

    def __init__(
        self,
        storage: Storage,
        log: EventLog,
        checkpoints: CheckpointStore,
        dead_letters: DeadLetterStore,
        locks: Locks,
        types: EventTypes,
        clock: Clock,
    ) -> None:
        self.storage: Storage = storage
        self.log: EventLog = log
        self.checkpoints: CheckpointStore = checkpoints
        self.dead_letters: DeadLetterStore = dead_letters
        self.locks: Locks = locks
        self.types: EventTypes = types
        self.clock: Clock = clock
