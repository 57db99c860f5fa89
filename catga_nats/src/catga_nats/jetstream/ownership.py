"""`Ownership`: which process handles which keys. Each has a lease, and all compute the same division of the groups."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import blake2b

import msgspec

from catga_core.clock import SystemClock
from catga_core.runtime import RetryPolicy, Worker, background_task
from catga_nats.jetstream.background import log_unreachable
from catga_nats.jetstream.reader import SAFE
from catga_nats.jetstream.state import Bucket, Entry

_NOBODY = ""
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(list[str]).decode
_owners = msgspec.json.Decoder(dict[str, str]).decode

Step = Callable[[str, int], Awaitable[None]]


class Ownership:
    """Divides the groups of each queue among the processes that consume it.

    A process renews one lease for all it owns. The owner of a group is changed by comparing revisions: by the former owner, once it
    has settled what it has, or by another process when the former owner's lease is gone. The owner itself stops earlier.

    Args:
        bucket: Where leases and owners are kept.
        groups: How many groups a queue has.
        seconds: Seconds of a lease.
        take: Begins to take the messages of a group.
        leave: Takes nothing more of a group, and returns when nothing of it is unsettled here.
        lose: Forgets a group that another process may own by now.
        on_unread: Called when the bucket cannot be read: it may be gone.
    """

    def __init__(
        self,
        bucket: Bucket,
        groups: int,
        seconds: float,
        take: Step,
        leave: Step,
        lose: Callable[[str, int], None],
        on_unread: Callable[[], None],
    ) -> None:
        self._bucket = bucket
        self._groups = groups
        self._seconds = int(seconds)
        self._take = take
        self._leave = leave
        self._lose = lose
        self._on_unread = on_unread
        self._member = secrets.token_hex(8)
        self._queues: list[str] = []
        self._owned: set[tuple[str, int]] = set()
        self._leaving: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._revisions: dict[str, int] = {}
        self._turns = asyncio.Lock()
        self.until: float = float("-inf")
        third = self._seconds / 3
        self._worker = Worker(
            "queue membership",
            self.turn,
            every=third,
            clock=SystemClock(),
            first=False,
            retry=RetryPolicy(max_attempts=None, delay_seconds=0.5, max_delay_seconds=third),
            on_error=self._unreachable,
        )

    def start(self) -> None:
        """Begin to renew."""
        self._worker.start()

    async def add(self, queues: Iterable[str]) -> None:
        """Join the consumers of queues; on return, this process owns every group without another owner.

        Raises:
            CatgaError: The bucket cannot be read or written.
        """
        self._queues += [each for each in queues if each not in self._queues]
        while await self.turn():
            pass

    async def confirm(self, queue: str, group: int) -> bool:
        """Return whether this process owns a group, as the bucket's leader knows it: this process's clock may be wrong.

        Raises:
            CatgaError: The bucket cannot be read.
        """
        entry = await self._bucket.get(_owner_key(queue))
        return entry is not None and _owners(entry.value).get(str(group)) == self._member

    async def stop(self) -> None:
        """Give everything up, so that others go on at once."""
        await self._worker.stop(cancel=True)
        async with self._turns:
            for queue, group in sorted(self._owned):
                self._begin_to_leave(queue, group)
            if self._leaving:
                await asyncio.wait(self._leaving.values())
            found = await self._bucket.list([_owner_key(each) for each in self._queues])
            for queue in self._queues:
                await self._divide(queue, [], found.get(_owner_key(queue)))
            await self._bucket.remove(f"member.{self._member}", seconds=self._seconds)

    async def close(self) -> None:
        """End everything that runs; the lease runs out by itself."""
        await self._worker.stop(cancel=True)
        self._lose_all()

    async def turn(self) -> bool:
        """Renew the lease, then take and leave groups; return whether there is more to do at once.

        Raises:
            CatgaError: The bucket cannot be read or written.
        """
        if not self._queues:
            return False
        async with self._turns:
            loop = asyncio.get_running_loop()
            now, until = loop.time(), self.until
            if now >= until:
                self._lose_all()
            await self._bucket.put(f"member.{self._member}", _encode(self._queues), ttl=self._seconds)
            if loop.time() >= until:
                # It may have come after the end of the former lease, and others have taken what was owned.
                self._lose_all()
            self.until = now + SAFE * self._seconds
            keys = [_owner_key(each) for each in self._queues]
            found = await self._bucket.list(["member.*", *keys])
            members = _members_by_queue(found)
            for queue in self._queues:
                # What is listed may be older than what was written just now.
                if self._member not in members.setdefault(queue, []):
                    members[queue].append(self._member)
            again = [
                await self._divide(queue, members.get(queue, []), found.get(_owner_key(queue)))
                for queue in tuple(self._queues)
            ]
            return any(again)

    async def _divide(self, queue: str, members: list[str], entry: Entry | None) -> bool:
        """Change the owners of a queue's groups as far as this process may; return whether another one was faster."""
        if (0 if entry is None else entry.revision) < self._revisions.get(queue, 0):
            # Older than what this process has written: as a listing may be. The leader is believed, also one that was killed and has
            # lost its last writes.
            entry = await self._bucket.get(_owner_key(queue))
            self._revisions[queue] = 0 if entry is None else entry.revision
        owners = {} if entry is None else _owners(entry.value)
        revision = 0 if entry is None else entry.revision
        self._lose_taken(queue, owners)
        changed, taken = self._plan(queue, members, owners)
        if changed == owners and not taken:
            return False
        written = await self._bucket.put(_owner_key(queue), _encode(changed), last=revision)
        if written is None:
            return True
        self._revisions[queue] = written
        for group in range(self._groups):
            place = (queue, group)
            if place in self._leaving and self._leaving[place].done():
                del self._leaving[place]
        for group in taken:
            await self._take(queue, group)
            self._owned.add((queue, group))
        return False

    def _lose_taken(self, queue: str, owners: Mapping[str, str]) -> None:
        """Forget the groups that are no longer this process's: its lease was renewed too late."""
        for place in [each for each in (*self._owned, *self._leaving) if each[0] == queue]:
            if owners.get(str(place[1]), _NOBODY) != self._member:
                self._owned.discard(place)
                leaving = self._leaving.pop(place, None)
                if leaving is not None:
                    leaving.cancel()
                self._lose(*place)

    def _plan(
        self, queue: str, members: list[str], owners: Mapping[str, str]
    ) -> tuple[dict[str, str], list[int]]:
        """Return who is to own each group, and which ones this process takes now."""
        changed = dict(owners)
        taken: list[int] = []
        for group in range(self._groups):
            number, place = str(group), (queue, group)
            owner = owners.get(number, _NOBODY)
            mine = _owner_of(queue, group, members) == self._member
            if owner == self._member and place in self._leaving:
                if self._leaving[place].done():
                    changed[number] = _NOBODY
            elif owner == self._member and place in self._owned:
                if not mine:
                    self._begin_to_leave(queue, group)
            elif mine and (owner == self._member or owner not in members):
                changed[number] = self._member
                taken.append(group)
            elif owner == self._member:
                changed[number] = _NOBODY
        return changed, taken

    def _begin_to_leave(self, queue: str, group: int) -> None:
        place = (queue, group)
        if place not in self._leaving:
            self._owned.discard(place)
            task = self._leaving[place] = background_task(self._left(queue, group))
            task.add_done_callback(lambda _: self._worker.wake())

    def _unreachable(self, error: Exception, delay: float) -> None:
        log_unreachable(error, delay)
        self._on_unread()

    async def _left(self, queue: str, group: int) -> None:
        await self._leave(queue, group)

    def _lose_all(self) -> None:
        for task in self._leaving.values():
            task.cancel()
        for queue, group in [*self._owned, *self._leaving]:
            self._lose(queue, group)
        self._owned.clear()
        self._leaving.clear()


def _members_by_queue(found: Mapping[str, Entry]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for key, entry in found.items():
        if key.startswith("member."):
            for queue in _members(entry.value):
                members.setdefault(queue, []).append(key.removeprefix("member."))
    return members


def _owner_of(queue: str, group: int, members: Iterable[str]) -> str | None:
    """Return who is to own a group: of all members the one with the highest digest, so that few groups move."""
    return max(members, key=lambda each: blake2b(f"{queue}:{group}:{each}".encode()).digest(), default=None)


def _owner_key(queue: str) -> str:
    return f"owner.{queue}"
