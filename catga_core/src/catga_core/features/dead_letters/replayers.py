"""`Replayer`: replays the dead letters of one source; features contribute them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from catga_core.errors import CatgaError, HandlerNotFoundError
from catga_core.interfaces.dead_letters import DeadLetter, DeadLetterSource
from catga_core.messages import MessageType
from catga_core.messages.results import CatgaResult

REPLAY_HEADER = "catga-replay"
"""Header of a replayed event in `current_context().headers`: number of the replay, `"1"` for the first one."""

Atomic = Callable[[MessageType, str], bool]
"""Tells whether a handler's effects and the removal of a dead letter are one transaction."""


class Replayer(Protocol):
    """Replays dead letters of one source; the caller holds the letter's lock."""

    async def replay(self, letter: DeadLetter, token: int, /) -> CatgaResult[None]:
        """Handle a letter's message; a success removes the letter, a failure updates it.

        Args:
            letter: The letter.
            token: The fencing token of its lock.

        Returns:
            The failure, of code `HANDLER_NOT_FOUND` or `SERIALIZATION_FAILED` where the letter was left as it is.

        Raises:
            CatgaError: The storage is away.
        """
        ...

    async def rehearse(self, letter: DeadLetter, /) -> CatgaResult[Any]:
        """Handle a letter's message as `replay` does, and leave the letter as it is.

        The caller records what is sent, and rolls back what is stored.
        """
        ...


class Replayers:
    """What the features of a container contribute to replays.

    Args:
        makers: Return the replayers of sources that the dead letters do not replay themselves.
        atomic: Tells for which handlers the removal of a letter joins their transaction.
        lease: Seconds after which a letter whose replaying process died can be replayed by another one.
        rehearsable: Returns why a dry run of a letter would leave something behind, `None` where it does not.
    """

    def __init__(
        self,
        makers: Mapping[DeadLetterSource, Callable[[], Replayer]],
        atomic: Atomic,
        lease: float,
        rehearsable: Callable[[DeadLetter], CatgaError | None],
    ) -> None:
        self._makers = makers
        self.atomic: Atomic = atomic
        self.lease: float = lease
        self.rehearsable: Callable[[DeadLetter], CatgaError | None] = rehearsable

    def of(self, source: DeadLetterSource) -> Replayer | None:
        """Return the contributed replayer of a source, `None` for none."""
        make = self._makers.get(source)
        return None if make is None else make()


def missing(letter_id: str) -> CatgaError:
    """Return the error for a letter that is not there."""
    text = f"The dead letter {letter_id!r} does not exist. It was replayed or purged, or the id is wrong."
    return HandlerNotFoundError(text)
