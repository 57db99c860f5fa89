"""The outbox relay: sends committed messages, in order per key, at least once, sharing the work with other relays."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from catga_core.clock import Clock
from catga_core.features.outbox.completions import Completions
from catga_core.features.outbox.held import HeldMessages
from catga_core.features.outbox.receivers import NOTE_SECONDS, Receivers
from catga_core.features.outbox.sending import OutboxSender
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.outbox import LeasedMessage, OutboxStore
from catga_core.log import OUTBOX_NOT_RELAYED, OUTBOX_UNREACHABLE, logger, traceback_of
from catga_core.runtime.cancellation import being_cancelled
from catga_core.runtime.retry import RetryPolicy, yield_to_winner
from catga_core.runtime.shielded import acquire_or_release, cleanup
from catga_core.runtime.tasks import background_task
from catga_core.runtime.worker import Worker

_FIRST_RETRY_SECONDS = 0.1
_MOST_HELD = 2  # times the batch, with those that are leased ahead or being recorded
_QUICK_SECONDS = 0.1  # to send the messages of a key in: what is leased ahead then waits for little longer
_NOT_RELAYED = "this process has neither an event transport nor event handlers, so it leaves the outbox to a process that has"


class RelaySettings(msgspec.Struct, frozen=True):
    """How a relay works.

    Args:
        batch: How many messages it sends at the same time.
        lease: Seconds after which another relay takes over the messages of a dead one.
        poll: Seconds between two queries where no wake-up reports new messages.
        longest_delay: Seconds that a message waits for its next attempt at most, with what clocks may differ.
    """

    batch: int
    lease: float
    poll: float
    longest_delay: float


class OutboxRelay:
    """A hosted service that sends the outbox's messages.

    Messages of one key are sent one after the other, messages of different keys at the same time. A message that fails
    waits for its retry, and the later ones of its key wait with it. As long as messages are sent quickly, the next ones are leased
    meanwhile; slow ones are left to other relays until there is room. When the relay stops, it finishes the messages that it
    is sending and releases the rest; an outbox in memory is first emptied of what is due.

    A process without an event transport and without event handlers relays nothing from a storage that others may use: it would
    deliver each event to no handler.

    Args:
        outbox: Returns the current store.
        sender: Sends one message, and decides what happens to one that fails.
        receivers: Where the events go.
        clock: The container's clock.
        settings: How it works.
        lasting: Returns whether the outbox outlives the process.

    Attributes:
        relays: Whether this process sends messages; known once it has started.
    """

    # Before its own handlers listen, this process would send them nothing.
    starts_after_serving: ClassVar[bool] = True

    def __init__(
        self,
        outbox: Callable[[], OutboxStore],
        sender: OutboxSender,
        receivers: Receivers,
        clock: Clock,
        settings: RelaySettings,
        lasting: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._receivers = receivers
        self.relays: bool = True
        self._clock = clock
        self._settings = settings
        self._lasting = lasting
        self._held = HeldMessages(clock, settings.lease)
        self._completions = Completions(self._record)
        self._lanes: set[asyncio.Task[None]] = set()
        # Leased ahead: the messages of one key each, which none under way has.
        self._ahead: deque[tuple[OutboxStore, list[LeasedMessage]]] = deque()
        self._quick = False
        # Whether the last time there were as many messages as asked for.
        self._more = False
        self._flushing = False
        # The store of the held messages; another one may stand in for it later.
        self._store: OutboxStore | None = None
        retry = RetryPolicy(
            max_attempts=None, delay_seconds=_FIRST_RETRY_SECONDS, max_delay_seconds=settings.poll * 10
        )
        self._worker = Worker(
            "outbox relay",
            self._turn,
            every=settings.poll,
            clock=clock,
            retry=retry,
            idle=self._idle,
            on_error=_unreachable,
            on_end=self._wind_down,
        )
        third, tenth = settings.lease / 3, settings.lease / 10
        self._renewals = Worker(
            "outbox lease renewal",
            self._renew,
            every=third,
            clock=clock,
            first=False,
            retry=RetryPolicy(max_attempts=None, delay_seconds=tenth, max_delay_seconds=tenth),
            on_error=_unreachable,
        )

        self._notes = Worker(
            "outbox handled events",
            receivers.note,
            every=NOTE_SECONDS,
            clock=clock,
            retry=retry,
            on_error=_unreachable,
        )

    @property
    def stops_after_messages(self) -> bool:
        """Whether it must outlive the messages in flight: what they commit would be lost with this process."""
        return not self._lasting()

    async def start(self) -> None:
        """Begin to send, where there is anything that this process can deliver to."""
        self._flushing = False
        self.relays = await self._receivers.exist()
        if not self.relays:
            logger().info(OUTBOX_NOT_RELAYED, reason=_NOT_RELAYED)
            return
        self._notes.start()
        self._renewals.start()
        self._worker.start()

    async def stop(self) -> None:
        """Finish the messages that are being sent and release the rest; if cancelled, release these as well."""
        self._flushing = not self._lasting()
        try:
            await self._worker.stop()
        finally:
            try:
                await self._renewals.stop(cancel=True)
            finally:
                await self._notes.stop(cancel=True)

    def health(self) -> Health:
        """Return whether the outbox can be reached, and how many messages were sent or failed."""
        details = {
            "in_flight": len(self._held),
            "sent": self._sender.sent,
            "failed_attempts": self._sender.failed,
            "dead": self._sender.dead,
            "unhandled": self._receivers.unhandled,
        }
        if not self.relays:
            return Health(HealthStatus.HEALTHY, _NOT_RELAYED, details)
        if self._worker.failures:
            text = f"the outbox could not be read {self._worker.failures} times in a row: {self._worker.last_error}"
            return Health(HealthStatus.UNHEALTHY, text, details)
        return Health(HealthStatus.HEALTHY, "", details)

    # --- the loop ---

    async def _turn(self) -> bool:
        """Lease as many messages as there is room for; return whether there were any."""
        store = self._outbox()
        if store is not self._store:
            # Messages of the former store end there.
            await self._all_lanes()
            self._store = store
        room = self._room
        if room <= 0:
            return False
        asked_at = self._clock.monotonic()
        leased = await acquire_or_release(self._lease(store, room), lambda taken: _release(store, taken))
        if leased:
            self._take(store, leased, asked_at)
        return bool(leased)

    async def _idle(self, seconds: float) -> None:
        if self._room <= 0:
            # Only the end of a message matters: the store would report due messages again and again.
            await asyncio.sleep(seconds)
            return
        began = asyncio.get_running_loop().time()
        await self._outbox().wait(timeout=seconds)
        await yield_to_winner(began, most=seconds)

    async def _renew(self) -> None:
        if self._store is not None:
            await self._held.renew(self._store)

    async def _wind_down(self) -> None:
        try:
            if not being_cancelled():
                if self._flushing:
                    await self._flush()
                await self._give_back_ahead()
                await self._all_lanes()
        finally:
            # Released with all that is still held; no lane goes on with them, and none is opened.
            self._flushing = False
            self._ahead.clear()
            for lane in self._lanes:
                lane.cancel()
            await cleanup(self._leave())

    async def _flush(self) -> None:
        try:
            again = True
            while again:
                # The end of a message, while a turn looks for others, may make another one of its key due.
                again = bool(self._under_way)
                again = await self._turn() or again
                if under_way := self._under_way:
                    await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:  # noqa: BLE001 - the process stops: there is no later attempt
            _unreachable(error, 0.0)

    async def _give_back_ahead(self) -> None:
        while self._ahead:
            outbox, messages = self._ahead.popleft()
            await cleanup(_release(outbox, [self._held.latest(each) for each in messages]))
            self._held.forget(messages)

    async def _leave(self) -> None:
        await self._all_lanes()
        if self._store is not None:
            await _release(self._store, self._held.leases)
        self._held.forget(self._held.leases)

    async def _all_lanes(self) -> None:
        while under_way := self._under_way:
            await asyncio.wait(under_way)

    # --- messages in flight ---

    @property
    def _goes_on(self) -> bool:
        return self._flushing or not self._worker.stopping

    @property
    def _room(self) -> int:
        """How many more messages may be leased: as many as are sent at a time, and while that is quick as many ahead.

        Those that are being recorded take no part, within bounds.
        """
        batch, held = self._settings.batch, len(self._held)
        most = _MOST_HELD * batch
        if not self._quick:
            return min(batch + len(self._completions), most) - held
        # Not one by one, while there is something to send.
        return 0 if self._ahead and 2 * (most - held) < batch else most - held

    async def _lease(
        self, store: OutboxStore, limit: int, sent: Sequence[LeasedMessage] = ()
    ) -> list[LeasedMessage]:
        seconds, longest_delay = self._settings.lease, self._settings.longest_delay
        leased = await store.lease(limit=limit, lease=seconds, longest_delay=longest_delay, sent=sent)
        self._more = len(leased) == limit
        return leased

    @property
    def _under_way(self) -> set[asyncio.Task[None]]:
        writing = self._completions.writing
        return self._lanes if writing is None else {*self._lanes, writing}

    def _take(self, outbox: OutboxStore, leased: Sequence[LeasedMessage], asked_at: float) -> None:
        self._held.add(leased, asked_at=asked_at)
        lanes: dict[object, list[LeasedMessage]] = {}
        for each in leased:
            key = each.message.key
            lanes.setdefault(each.sequence if key is None else key, []).append(each)
        self._ahead.extend((outbox, messages) for messages in lanes.values())
        self._open_lanes()

    def _open_lanes(self) -> None:
        if not self._goes_on:
            return
        for _ in range(min(len(self._ahead), self._settings.batch - len(self._lanes))):
            lane = background_task(self._lane())
            self._lanes.add(lane)
            lane.add_done_callback(self._ended)

    def _ended(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        # A turn may have found this one still counted.
        self._open_lanes()
        self._worker.wake()
        if not lane.cancelled() and (error := lane.exception()) is not None:
            # Its leases end, and another relay sends its messages.
            logger().error(OUTBOX_UNREACHABLE, error=type(error).__name__, stack=traceback_of(error))

    async def _record(self, outbox: OutboxStore, sent: Sequence[LeasedMessage]) -> None:
        """Record messages as sent, and while there are more to send quickly, lease as many in the same step."""
        asked_at = self._clock.monotonic()
        leased: Sequence[LeasedMessage] = ()
        replaced = self._held.count(sent) if self._replaces(outbox) else 0
        try:
            if replaced:
                leased = await self._lease(outbox, replaced, sent)
            else:
                await outbox.complete(sent)
        except Exception as error:  # noqa: BLE001 - their leases end, and they are sent once more
            logger().warning(OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}")
        finally:
            self._held.forget(sent)
            if leased:
                self._take(outbox, leased, asked_at)
            if not leased or len(leased) < replaced:
                self._worker.wake()

    def _replaces(self, outbox: OutboxStore) -> bool:
        return (
            self._more
            and self._quick
            and self._goes_on
            and outbox is self._store
            and outbox is self._outbox()
        )

    async def _lane(self) -> None:
        """Send the messages of one key after those of another."""
        held, clock = self._held, self._clock
        while self._ahead and self._goes_on:
            outbox, rest = self._ahead.popleft()
            began = clock.monotonic()
            try:
                # In order, until one fails or the relay stops.
                while rest and self._goes_on:
                    # Once a lease may be over, another relay may have sent this message and those after it.
                    if not held.is_held(rest[0]):
                        break
                    leased = held.latest(rest[0])
                    if not await self._sender.send(leased, outbox):
                        held.forget([rest.pop(0)])
                        self._quick = False
                        break
                    rest.pop(0)
                    self._completions.add(outbox, leased)
                else:
                    self._quick = clock.monotonic() - began < _QUICK_SECONDS
            finally:
                if rest:
                    try:
                        await cleanup(self._completions.flush())
                    finally:
                        await cleanup(_release(outbox, [held.latest(each) for each in rest]))
                        held.forget(rest)


def _unreachable(error: Exception, delay: float) -> None:
    logger().error(
        OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}", retry_in_seconds=round(delay, 3)
    )


async def _release(outbox: OutboxStore, leased: Sequence[LeasedMessage]) -> None:
    if not leased:
        return
    try:
        await outbox.release(leased)
    except Exception as error:  # noqa: BLE001 - the leases end by themselves
        logger().warning(OUTBOX_UNREACHABLE, error=f"{type(error).__name__}: {error}")
