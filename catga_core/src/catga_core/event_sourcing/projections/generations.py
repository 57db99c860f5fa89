"""The generations of a projection: which one is read, which one is built, and the switch from one to the next.

Named values of the checkpoints' storage hold the numbers, so that a switch is one unit of work: `projection:NAME` is the
generation that is read, `projection:NAME:rebuild` the one that was requested, and `projection:NAME:VERSION.RUN:history` the head
of the log when the first generation was created. `projection:NAME:VERSION.RUN` is the checkpoint of each generation.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.projections.context import ProjectionContext
from catga_core.interfaces.checkpoints import Checkpoint, CheckpointStore
from catga_core.interfaces.named_values import NamedValueStore
from catga_core.interfaces.stores import stores_of

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RUNS = 1_000_000  # rebuilds of one version


class Generation(msgspec.Struct, frozen=True, order=True):
    """One build of a projection: its version, and how often that was rebuilt.

    Args:
        version: The version of the projection's class.
        run: 0 for the first build of that version.
    """

    version: int
    run: int

    @property
    def number(self) -> int:
        """The generation as one number; later ones are higher."""
        return self.version * _RUNS + self.run

    @property
    def next_run(self) -> Generation:
        """The generation that a rebuild of this one creates."""
        return Generation(self.version, self.run + 1)

    def target(self, name: str) -> str:
        """Return the name of the target it writes, which is an identifier of SQL without quotes.

        Args:
            name: The projection's name.
        """
        stem = identifier(name)
        return f"{stem}_{self.version}_{self.run}" if self.run else f"{stem}_{self.version}"

    def context(self, name: str, *, replay: bool) -> ProjectionContext:
        """Return what `current_projection()` returns in the methods of a projection that writes this generation.

        Args:
            name: The projection's name.
            replay: Whether the event is handled again, or is older than the projection.
        """
        return ProjectionContext(name, self.version, self.target(name), replay)

    @classmethod
    def of(cls, number: int) -> Generation:
        """Return the generation of a number."""
        return cls(*divmod(number, _RUNS))


def identifier(name: str) -> str:
    """Return a projection's name as an identifier of SQL: what begins the names of its targets.

    Args:
        name: Letters, digits, `_`, `-` and `.`. One without `-` and `.` that begins with no digit stays as it is; any
            other gets a digest to its end, so that no two names become one.
    """
    if _IDENTIFIER.fullmatch(name):
        return name
    digest = blake2b(name.encode(), digest_size=3).hexdigest()
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"{'_' if plain[0].isdigit() else ''}{plain}_x{digest}"


NOTHING = Generation(0, 0)
"""What is read before the first generation is built."""


class Generations:
    """The stored generations of one projection.

    Args:
        name: The projection's name.
        checkpoints: The checkpoints of its generations.
        values: The named values of the same storage; `None` to find them by the checkpoints.

    Raises:
        ConfigurationError: `values` is `None`, and the checkpoints' storage has no named values.
    """

    def __init__(
        self, name: str, checkpoints: CheckpointStore, values: NamedValueStore | None = None
    ) -> None:
        self.name: str = name
        self.key: str = f"projection:{name}"
        self._checkpoints = checkpoints
        self._values: NamedValueStore = _values_beside(checkpoints) if values is None else values

    def key_of(self, generation: Generation) -> str:
        """Return the name of a generation's checkpoint."""
        return f"{self.key}:{generation.version}.{generation.run}"

    def of_letter(self, letter_id: str) -> Generation | None:
        """Return the generation that has parked the event of a dead letter, `None` for one of another consumer.

        Args:
            letter_id: Begins with the name of the checkpoint of the consumer that has parked it.
        """
        found = re.match(rf"{re.escape(self.key)}:(\d+)\.(\d+)/", letter_id)
        return None if found is None else Generation(int(found[1]), int(found[2]))

    async def active(self) -> Generation | None:
        """Return the generation that is read, `None` where there is none yet."""
        number = await self._values.get(self.key)
        return Generation.of(number) if number else None

    async def confirm(self, generation: Generation) -> None:
        """Require, in a unit of work, that a generation is still the one that is read when it commits.

        Raises:
            NamedValueConflictError: Another one is read.
        """
        await self.switch(generation, generation)

    async def asked_for(self) -> Generation | None:
        """Return the newest generation that was requested by a rebuild, `None` for none."""
        number = await self._values.get(f"{self.key}:rebuild")
        return None if number is None else Generation.of(number)

    async def ask_for(self, generation: Generation) -> None:
        """Request a generation; any process that runs the projection builds it."""
        await self._values.set(f"{self.key}:rebuild", generation.number)

    async def begin(self, generation: Generation, head: int) -> None:
        """Create the first generation of all; in a unit of work.

        Args:
            generation: The first one.
            head: The last position of the log at that moment.

        Raises:
            NamedValueConflictError: Another process has done so.
        """
        await self.switch(NOTHING, generation)
        await self._values.set(f"{self.key_of(generation)}:history", head)

    async def older_than(self, generation: Generation) -> list[Generation]:
        """Return the earlier generations that still have a checkpoint."""
        found: list[Generation] = []
        for each in await self._checkpoints.list():
            known = self.of_letter(f"{each.name}/")
            if known is not None and known < generation:
                found.append(known)
        return found

    async def history(self, generation: Generation) -> int:
        """Return the last position of the log when the projection was created."""
        return await self._values.get(f"{self.key_of(generation)}:history") or 0

    async def checkpoint(self, generation: Generation) -> Checkpoint | None:
        """Return how far a generation is, `None` where it has no checkpoint."""
        return await self._checkpoints.load(self.key_of(generation))

    async def switch(self, old: Generation, new: Generation) -> None:
        """Make another generation the one that is read; in a unit of work, before everything else in it.

        Raises:
            NamedValueConflictError: Another one is read than `old`.
        """
        expected: int | None = old.number
        if old == NOTHING and await self._values.get(self.key) is None:
            expected = None
        await self._values.compare_and_set(self.key, new.number, expected=expected)

    async def hold_up(self, generation: Generation) -> None:
        """Take the lease of a generation's consumer away for a moment: it comes back with its next lease."""
        key = self.key_of(generation)
        known = await self._checkpoints.load(key)
        if known is not None:
            await self._checkpoints.save(
                key,
                known.position,
                fencing_token=known.fencing_token + 1,
                expected_position=known.position,
                event_id=known.event_id,
            )

    async def begin_again(self, generation: Generation) -> None:
        """Delete the checkpoint of a generation that is being built, in a unit of work: its next session resets it."""
        await self._checkpoints.delete(self.key_of(generation))

    async def retire(self, old: Generation) -> Checkpoint | None:
        """Delete a generation's checkpoint, in the unit of work of the switch; return it.

        A consumer that still works for it cannot save any more, and its unit of work is rolled back.

        Raises:
            CatgaError: `CONFLICT` when it moves meanwhile.
        """
        key = self.key_of(old)
        known = await self._checkpoints.load(key)
        if known is None:
            return None
        # A storage that writes at the commit checks there that it still is where it was read.
        await self._checkpoints.save(
            key, known.position, fencing_token=known.fencing_token, expected_position=known.position
        )
        await self._checkpoints.delete(key)
        await self._values.delete(f"{key}:history")
        return known


def _values_beside(checkpoints: CheckpointStore) -> NamedValueStore:
    stores = stores_of(checkpoints)
    values = None if stores is None else stores.get(NamedValueStore)
    if values is None:
        msg = (
            f"the storage of {type(checkpoints).__name__} has no named values that could be found by it. Pass the "
            "NamedValueStore of the same storage."
        )
        raise ConfigurationError(msg)
    return values
