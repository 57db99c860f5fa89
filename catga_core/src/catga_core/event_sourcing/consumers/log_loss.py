"""What a consumer does where the log has lost the events that it has read: in a failover, by a restored backup."""

from __future__ import annotations

from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.interfaces.checkpoints import Checkpoint
from catga_core.log import LOG_END_LOST, logger
from catga_core.runtime.log_reader import LogEndLost


class OffLog(Exception):  # noqa: N818 - ends a session by its policy, and is never seen outside
    """The log has lost the event at a consumer's checkpoint, and the policy is not to continue.

    Args:
        reason: What has happened, and what is done.
        waits: Whether the consumer waits to be resumed; otherwise a rebuild replaces it.
    """

    def __init__(self, reason: str, *, waits: bool) -> None:
        super().__init__()
        self.reason: str = reason
        self.waits: bool = waits


class LogLosses:
    """What one consumer has noticed of a log that lost its end, for health, until it is acknowledged.

    Args:
        kind: `projection` or `subscription`.
        name: Its name.
    """

    def __init__(self, kind: str, name: str) -> None:
        self._kind = kind
        self._name = name
        self.count: int = 0
        self.note: str = ""
        self.saved: dict[str, int] = {}
        """The position of each checkpoint, by its name, as this process has last saved or seen it."""

    def report(self, reason: str, action: str) -> None:
        """Log a loss, and keep it for health.

        Args:
            reason: What has happened.
            action: What the consumer does.
        """
        self.count += 1
        self.note = f"{reason}: it {action}"
        logger().error(LOG_END_LOST, **{self._kind: self._name}, reason=reason, action=action)

    def acknowledge(self) -> None:
        """Clear the note: an operator has seen it."""
        self.note = ""

    def found(self, key: str, position: int) -> None:
        """Note the position at which a checkpoint was found, and report it where it is before the one that was known.

        Args:
            key: The checkpoint's name.
            position: Where it is stored now.
        """
        before = self.saved.get(key, 0)
        self.saved[key] = position
        if position < before:
            self.report(
                f"the storage has lost its last writes (the checkpoint went back from position {before} to {position})",
                "continues from its checkpoint",
            )


async def restored_with_log(
    ports: ConsumerPorts, known: Checkpoint | None, lost: LogEndLost, event_id: str | None
) -> bool:
    """Return whether a checkpoint is where the log is, so that its consumer may continue from it.

    Args:
        ports: The log.
        known: The stored checkpoint.
        lost: The loss.
        event_id: The message id of the event that is lost.
    """
    if known is None:
        return True
    if known.position == lost.position and known.event_id in {None, event_id}:
        return False
    return await ports.reader.contains(known.position, known.event_id)


async def where_to_continue(ports: ConsumerPorts, lost: LogEndLost) -> int:
    """Return the last position that a consumer has read and the log still has; the log's end where that is not known.

    Args:
        ports: The log.
        lost: The loss.
    """
    known = await ports.reader.last_known(lost.position)
    return await ports.log.head() if known is None else known
