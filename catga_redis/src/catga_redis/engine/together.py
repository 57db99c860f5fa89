"""Operations of several callers in one script: what most of its time goes to is done once for all of them.

A script of a few commands takes the server three times as long as the commands: to find it, to make its functions, to ask for the time.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from catga_core.errors import CatgaError
from catga_core.runtime import background_task
from catga_redis.engine.commands import Commands

_MOST: Final = 64  # operations of one script: it keeps everybody else waiting meanwhile
_MOST_BYTES: Final = 256 * 1024


class _Asked(msgspec.Struct, eq=False):
    """What one caller waits for."""

    name: str
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]


class Together:
    """Runs operations alone or together; those that are asked while a script is under way are the next one's.

    Each operation is done or refused as if it was alone. One that fails among others is run once more, alone.

    Args:
        commands: Runs scripts.
        script: The operation that does several: their number, then name, number of arguments and arguments of each.
    """

    def __init__(self, commands: Commands, script: str) -> None:
        self._commands = commands
        self._script = script
        self._asked: deque[_Asked] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def run(self, name: str, *arguments: Any) -> Any:
        """Run an operation's script, and return its answer.

        Args:
            name: The operation.
            arguments: Its arguments.

        Raises:
            CatgaError: As of `Commands.run`.
        """
        loop, worker = asyncio.get_running_loop(), self._worker
        if worker is None or worker.done() or worker.get_loop().is_closed():
            self._asked.clear()
        elif worker.get_loop() is not loop:
            # It says that this is the wrong event loop.
            return await self._commands.run(name, *arguments)
        asked = _Asked(name, arguments, loop.create_future())
        self._asked.append(asked)
        if len(self._asked) == 1 and (worker is None or worker.done() or worker.get_loop() is not loop):
            # It runs after this turn of the loop, and so finds what the other callers of the turn ask as well.
            self._worker = background_task(self._work(), name="catga-redis-together")
        return await asked.future

    async def _work(self) -> None:
        while batch := self._take():
            if len(batch) == 1:
                await self._alone(batch[0])
            else:
                await self._several(batch)
            # Those who were answered may ask again in the next turn.
            await asyncio.sleep(0)

    def _take(self) -> list[_Asked]:
        batch: list[_Asked] = []
        size = 0
        while self._asked and len(batch) < _MOST and size < _MOST_BYTES:
            asked = self._asked.popleft()
            if not asked.future.done():
                batch.append(asked)
                size += sum(len(each) for each in asked.arguments if isinstance(each, bytes | str))
        return batch

    async def _alone(self, asked: _Asked) -> None:
        try:
            answer = await self._commands.run(asked.name, *asked.arguments)
        except Exception as error:  # noqa: BLE001 - the caller's, whatever it is
            _fail([asked], error)
        else:
            _settle(asked, answer)

    async def _several(self, batch: Sequence[_Asked]) -> None:
        arguments: list[Any] = [len(batch)]
        for asked in batch:
            arguments += (asked.name, len(asked.arguments), *asked.arguments)
        try:
            answers = await self._commands.run(self._script, *arguments)
        except Exception as error:  # noqa: BLE001 - each caller's, whatever it is
            _fail(batch, error)
            return
        for asked, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                # Alone it is tried again where that may help, and its error is told in words.
                await self._alone(asked)
            else:
                _settle(asked, answer)


def _settle(asked: _Asked, answer: object) -> None:
    if not asked.future.done():
        asked.future.set_result(answer)


def _fail(batch: Sequence[_Asked], error: Exception) -> None:
    for asked in batch:
        if not asked.future.done():
            # One for each: an error that is raised in several tasks would collect the tracebacks of all.
            asked.future.set_exception(copy.copy(error) if isinstance(error, CatgaError) else error)
