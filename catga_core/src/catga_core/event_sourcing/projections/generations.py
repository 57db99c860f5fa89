"""The generations of a projection: which one is read, which one is built, and the switch from one to the next.

Everything is kept as checkpoints, so that a switch is one unit of work: `projection:NAME` holds the number of the generation
that is read, `projection:NAME:VERSION.RUN` is each generation's own checkpoint, `projection:NAME:rebuild` holds the number of
a generation that was asked for, and `...:history` the head of the log when the first generation was made.
"""

from __future__ import annotations

import re

import msgspec

from catga_core.interfaces.checkpoints import CheckpointStore

_RUNS = 1_000_000  # rebuilds of one version


class Generation(msgspec.Struct, frozen=True, order=True):
    """One life of a projection: its version, and how often that was rebuilt.

    Parameters:
        version: the version of the projection's class.
        run: 0 for the first of that version.
    """

    version: int
    run: int

    @property
    def number(self) -> int:
        """The whole generation as one number; later ones are higher."""
        return self.version * _RUNS + self.run

    @property
    def next_run(self) -> Generation:
        """The generation that a rebuild of this one makes."""
        return Generation(self.version, self.run + 1)

    def target(self, name: str) -> str:
        """Return the name of what it writes."""
        return f"{name}_{self.version}_{self.run}" if self.run else f"{name}_{self.version}"

    @classmethod
    def of(cls, number: int) -> Generation:
        """Return the generation of a number."""
        return cls(*divmod(number, _RUNS))


NOTHING = Generation(0, 0)
"""What is read before the first generation is built."""


class Generations:
    """The generations of one projection, as they are kept.

    Parameters:
        name: the projection's name.
        checkpoints: where.
    """

    def __init__(self, name: str, checkpoints: CheckpointStore) -> None:
        self.name: str = name
        self.key: str = f"projection:{name}"
        self._checkpoints = checkpoints

    def key_of(self, generation: Generation) -> str:
        """Return the name of a generation's checkpoint."""
        return f"{self.key}:{generation.version}.{generation.run}"

    def of_letter(self, letter_id: str) -> Generation | None:
        """Return the generation that has parked what a dead letter is about, `None` for a letter of somebody else.

        Parameters:
            letter_id: begins with the name of the checkpoint of whoever has parked it.
        """
        found = re.match(rf"{re.escape(self.key)}:(\d+)\.(\d+)/", letter_id)
        return None if found is None else Generation(int(found[1]), int(found[2]))

    async def active(self) -> Generation | None:
        """Return the generation that is read, `None` where there is none yet."""
        known = await self._checkpoints.load(self.key)
        return None if known is None or not known.position else Generation.of(known.position)

    async def confirm(self, generation: Generation) -> None:
        """Make sure, in a unit of work, that a generation is still the one that is read when that is committed.

        Raises:
            CatgaError: `CONFLICT` when another one is.
        """
        await self._checkpoints.save(self.key, generation.number, expected_position=generation.number)

    async def asked_for(self) -> Generation | None:
        """Return the newest generation that a rebuild was asked for, `None` for none."""
        known = await self._checkpoints.load(f"{self.key}:rebuild")
        return None if known is None else Generation.of(known.position)

    async def ask_for(self, generation: Generation) -> None:
        """Have a generation built; whoever runs the projection finds it."""
        await self._checkpoints.save(f"{self.key}:rebuild", generation.number)

    async def begin(self, generation: Generation, head: int) -> None:
        """Make the first generation of all; in a unit of work.

        Parameters:
            generation: the first one.
            head: the last event that was there before it.

        Raises:
            CatgaError: `CONFLICT` when another process has done so.
        """
        await self._checkpoints.save(self.key, generation.number, expected_position=0)
        await self._checkpoints.save(f"{self.key_of(generation)}:history", head)

    async def history(self, generation: Generation) -> int:
        """Return the last position that was there before the projection was."""
        known = await self._checkpoints.load(f"{self.key_of(generation)}:history")
        return 0 if known is None else known.position

    async def position(self, generation: Generation) -> int:
        """Return how far a generation has come."""
        known = await self._checkpoints.load(self.key_of(generation))
        return 0 if known is None else known.position

    async def switch(self, old: Generation, new: Generation) -> None:
        """Have another generation read; in a unit of work, first of all: from here on nobody else writes in between.

        Raises:
            CatgaError: `CONFLICT` when another one is read than `old`.
        """
        await self._checkpoints.save(self.key, new.number, expected_position=old.number)

    async def hold_up(self, generation: Generation) -> None:
        """Have whoever works for a generation lose its place for a moment: it comes back with the next lease."""
        key = self.key_of(generation)
        known = await self._checkpoints.load(key)
        if known is not None:
            await self._checkpoints.save(
                key,
                known.position,
                fencing_token=known.fencing_token + 1,
                expected_position=known.position,
            )

    async def retire(self, old: Generation) -> int:
        """Take a generation's place away, in the unit of work of the switch; return the position it has come to.

        Whoever still works for it cannot save any more, and what they do is rolled back.

        Raises:
            CatgaError: `CONFLICT` when it moves meanwhile.
        """
        key = self.key_of(old)
        known = await self._checkpoints.load(key)
        if known is None:
            return 0
        # A storage that writes at the commit checks there that it still is where we have seen it.
        await self._checkpoints.save(
            key, known.position, fencing_token=known.fencing_token, expected_position=known.position
        )
        await self._checkpoints.delete(key)
        await self._checkpoints.delete(f"{key}:history")
        return known.position
