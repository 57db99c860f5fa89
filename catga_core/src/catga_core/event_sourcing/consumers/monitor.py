"""`Monitor`: keeps a consumer's health up to date where the consumer itself does not see it: on standby, stopped, or busy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catga_core.clock import SystemClock
from catga_core.event_sourcing.consumers.log_loss import LogLosses
from catga_core.event_sourcing.consumers.ports import ConsumerPorts
from catga_core.event_sourcing.consumers.progress import Progress
from catga_core.event_sourcing.consumers.replaying import parked_by
from catga_core.event_sourcing.consumers.waiting import look, off_log
from catga_core.runtime.worker import Worker


class Monitor:
    """Looks at the head of the log, at checkpoints that other processes save, and at parked events.

    Args:
        ports: Where it looks.
        name: The projection or subscription.
        parts: Returns the progress to update.
        seconds: Real seconds between two looks.
        losses: Where a checkpoint that went back is reported.
    """

    def __init__(
        self,
        ports: ConsumerPorts,
        name: str,
        parts: Callable[[], Sequence[Progress]],
        seconds: float,
        losses: LogLosses,
    ) -> None:
        self._losses = losses
        self._ports = ports
        self._name = name
        self._parts = parts
        self._seconds = seconds
        self._worker = Worker(
            f"monitor of {name!r}",
            self.look,
            every=seconds,
            clock=SystemClock(),
            # The consumer reports a storage that is away.
            on_error=lambda _error, _delay: None,
        )

    def start(self) -> None:
        """Begin to look."""
        self._worker.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._worker.stop(cancel=True)

    async def look(self) -> None:
        """Look once."""
        ports, parts = self._ports, self._parts()
        head = await ports.reader.head(max_age=self._seconds)
        parked = await ports.dead_letters.count(parked_by(self._name))
        for each in parts:
            each.parked = parked
            if each.follows_head:
                await self._follow(each, head)
            elif not each.at_work:
                await look(each, ports)
                if each.kept and each.position:
                    self._losses.found(each.name, each.position)
            each.saw_head(head)
        resting = [each for each in parts if not (each.at_work or each.follows_head)]
        lost = await off_log(resting, ports)
        for each in resting:
            # One that works by now finds out by itself.
            each.off_log = each in lost and not each.at_work

    async def _follow(self, progress: Progress, head: int) -> None:
        """Look whether the log still has the event that was its last one, then follow it to its head."""
        if not await self._ports.reader.contains(progress.position, progress.event_id):
            self._losses.report(
                f"the log has lost the event at position {progress.position}",
                "continues: its effects went back with the log",
            )
        last = await self._ports.log.read_all(after=head - 1, limit=1) if head else ()
        progress.reached(head, last[0].record.message_id if last else None)
