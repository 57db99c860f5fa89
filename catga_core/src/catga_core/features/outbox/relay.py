"""The outbox relay: sends what was committed, in order per key, at least once, sharing the work with other relays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context

import msgspec

from catga_core.clock import Clock
from catga_core.features.outbox.completions import Completions
from catga_core.features.outbox.sending import Sending
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_core.log import OUTBOX_UNREACHABLE, logger, traceback_of
from catga_core.runtime.retry import backoff, scattered
from catga_core.runtime.shielded import acquire_or_release, cleanup


class RelaySettings(msgspec.Struct, frozen=True):
    """How a relay works.

    Parameters:
        batch: how many messages it has under way at the same time.
        lease: seconds after which another relay takes over what a dead one had.
        poll: seconds between two looks where nobody tells that there is something.
    """

    batch: int
    lease: float
    poll: float


class OutboxRelay:
    """A hosted service that sends the outbox's messages.

    Messages of one key are sent one after the other, those of different keys at the same time. One that fails waits, and
    all of its key with it. When it stops, it ends what it is sending and gives back the rest; where the outbox is only
    in memory, it first sends what is due.

    Parameters:
        outbox: gives the store as it is now.
        sending: sends one message, and decides what becomes of one that fails.
        clock: the container's.
        settings: how it works.
        lasting: tells whether what is left in the outbox outlives the process.
    """

    def __init__(
        self,
        outbox: Callable[[], OutboxStore],
        sending: Sending,
        clock: Clock,
        settings: RelaySettings,
        lasting: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._sending = sending
        self._clock = clock
        self._settings = settings
        self._lasting = lasting
        self._mine: dict[int, LeasedMessage] = {}
        # When the lease of each may be over, by the clock that only goes on; a store tells later than this.
        self._ends: dict[int, float] = {}
        self._lanes: set[asyncio.Task[None]] = set()
        self._stir = asyncio.Event()
        self._stopping = False
        self._flushing = False
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def stops_after_messages(self) -> bool:
        """Whether it has to outlive the messages in flight: what they commit would be lost with this process."""
        return not self._lasting()

    async def start(self) -> None:
        """Begin to send."""
        self._stopping = False
        self._failures = 0
        # A context of its own: what surrounds the start of the container is no business of what is sent.
        self._task = asyncio.create_task(self._work(), context=Context())

    async def stop(self) -> None:
        """End what is being sent and give back the rest; cancelled, give back that as well."""
        self._flushing = not self._lasting()
        self._stopping = True
        self._stir.set()
        task, self._task = self._task, None
        if task is None:
            return
        try:
            await asyncio.wait([task])
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
        await task

    def health(self) -> Health:
        """Tell whether the outbox can be reached, and what is under way."""
        details = {
            "under_way": len(self._mine),
            "sent": self._sending.sent,
            "failed_tries": self._sending.failed,
            "dead": self._sending.dead,
        }
        if self._failures:
            text = f"the outbox could not be read {self._failures} times in a row"
            return Health(HealthStatus.UNHEALTHY, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    # --- the loop ---

    async def _work(self) -> None:
        outbox = self._outbox()
        try:
            while not self._stopping or self._flushing:
                now = self._outbox()
                if now is not outbox:
                    # Another stands in for it: what was leased from the first ends there.
                    await self._all_lanes()
                    outbox = now
                if not await self._turn(outbox):
                    break
            await self._all_lanes()
        finally:
            for lane in self._lanes:
                lane.cancel()
            await cleanup(self._leave(outbox))

    async def _turn(self, outbox: OutboxStore) -> bool:
        """Take what there is room for, or wait; return whether to go on."""
        room = self._settings.batch - len(self._mine)
        leased: list[LeasedMessage] = []
        asked_at = self._clock.monotonic()
        self._stir.clear()
        if room > 0:
            try:
                leased = await acquire_or_release(
                    outbox.lease(limit=room, lease=self._settings.lease),
                    lambda taken: _release(outbox, taken),
                )
            except Exception as error:  # noqa: BLE001 - the storage may be back in a moment
                self._failures += 1
                logger().error(OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}")
                if self._stopping:
                    return False
                await self._pause(
                    self._clock.sleep(backoff(self._failures, first=0.1, longest=self._settings.poll * 10))
                )
                return True
            self._failures = 0
        if leased:
            self._take(outbox, leased, asked_at + self._settings.lease)
        elif self._stopping and not self._lanes:
            return False
        else:
            await self._wait(outbox, room)
        return True

    async def _wait(self, outbox: OutboxStore, room: int) -> None:
        poll = scattered(self._settings.poll)
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Without room only the end of a message matters: that something is due would be said again and again.
        await self._pause(outbox.wait(timeout=poll) if room > 0 else asyncio.sleep(poll))
        if loop.time() - began < 0.001 and not self._stir.is_set():
            # It was said to be due, and another relay had it: who looks at once again would spin.
            await self._pause(asyncio.sleep(min(poll, 0.01)))

    async def _pause(self, waiting: Awaitable[None]) -> None:
        """Wait for something, or until a message has ended or the relay stops."""
        stirred = asyncio.ensure_future(self._stir.wait())
        waited = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait([stirred, waited], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stirred.cancel()
            waited.cancel()
            await asyncio.wait([stirred, waited])
        if not waited.cancelled() and waited.exception() is not None:
            # The next look will say what is wrong; until then it must not spin.
            await self._clock.sleep(scattered(self._settings.poll))

    # --- what is under way ---

    def _take(self, outbox: OutboxStore, leased: Sequence[LeasedMessage], ends: float) -> None:
        self._mine.update((each.sequence, each) for each in leased)
        self._ends.update((each.sequence, ends) for each in leased)
        lanes: dict[object, list[LeasedMessage]] = {}
        for each in leased:
            key = each.message.key
            lanes.setdefault(each.sequence if key is None else key, []).append(each)
        completions = Completions(outbox, self._forget)
        keeping = asyncio.create_task(self._keep(outbox, leased))
        running = [asyncio.create_task(self._lane(outbox, lane, completions)) for lane in lanes.values()]
        left = len(running)

        def ended(lane: asyncio.Task[None]) -> None:
            nonlocal left
            left -= 1
            self._lanes.discard(lane)
            self._stir.set()
            if not lane.cancelled() and (error := lane.exception()) is not None:
                # Its leases end, and its messages are sent by whoever has them then.
                logger().error(OUTBOX_UNREACHABLE, error=type(error).__name__, stack=traceback_of(error))
            if left == 0:
                keeping.cancel()

        for lane in running:
            self._lanes.add(lane)
            lane.add_done_callback(ended)

    async def _lane(self, outbox: OutboxStore, lane: list[LeasedMessage], completions: Completions) -> None:
        rest = list(lane)
        try:
            while rest and not (self._stopping and not self._flushing):
                leased = self._mine.get(rest[0].sequence)
                if leased is None or self._clock.monotonic() >= self._ends[leased.sequence]:
                    # Another relay has it, or may have, and have sent what comes after it: who stood still for long is told
                    # by the store only with the next answer.
                    break
                if not await self._sending.send(leased, outbox):
                    self._forget([rest.pop(0)])
                    break
                rest.pop(0)
                completions.add(leased)
        finally:
            try:
                await cleanup(completions.flushed())
            finally:
                if rest:
                    await cleanup(_release(outbox, [self._mine.get(each.sequence, each) for each in rest]))
                    self._forget(rest)

    async def _keep(self, outbox: OutboxStore, leased: Sequence[LeasedMessage]) -> None:
        lease = self._settings.lease
        sequences = [each.sequence for each in leased]
        while True:
            await self._clock.sleep(lease / 3)
            held = [self._mine[each] for each in sequences if each in self._mine]
            ends = self._clock.monotonic() + lease
            try:
                kept = {each.sequence: each for each in await outbox.renew(held, lease=lease)}
            except Exception as error:  # noqa: BLE001 - the leases still run, so it is tried again
                logger().warning(OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}")
                continue
            for each in held:
                if each.sequence not in self._mine:
                    continue
                if each.sequence in kept:
                    self._mine[each.sequence] = kept[each.sequence]
                    self._ends[each.sequence] = ends
                else:
                    self._forget([each])

    def _forget(self, leased: Sequence[LeasedMessage]) -> None:
        for each in leased:
            self._mine.pop(each.sequence, None)
            self._ends.pop(each.sequence, None)

    async def _all_lanes(self) -> None:
        while self._lanes:
            await asyncio.wait(self._lanes)

    async def _leave(self, outbox: OutboxStore) -> None:
        await self._all_lanes()
        if self._mine:
            await _release(outbox, list(self._mine.values()))
            self._mine.clear()
            self._ends.clear()


async def _release(outbox: OutboxStore, leased: Sequence[LeasedMessage]) -> None:
    if not leased:
        return
    try:
        await outbox.release(leased)
    except Exception as error:  # noqa: BLE001 - the leases end by themselves
        logger().warning(OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}")
