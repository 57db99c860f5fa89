"""Runs scripts: what a store asks is done once, or it is told that nobody knows."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from catga_core.clock import Clock, SystemClock
from catga_core.runtime import RetryPolicy
from catga_redis.engine.failures import (
    LostError,
    NotSentError,
    UnconfirmedError,
    answered,
    failed,
    unanswered,
    unconfirmed,
    will_pass,
)
from catga_redis.engine.scripts import Script, Scripts

_RECOVERY = RetryPolicy(max_attempts=None, delay_seconds=0.02, max_delay_seconds=0.5)
_REAL_TIME = SystemClock()  # a server recovers in real time, whatever the container's clock shows


class Sender(Protocol):
    """Sends to a server, or to the right one of a cluster, once."""

    async def command(self, *parts: Any) -> Any:
        """Send a command that reads."""
        ...

    async def script(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script."""
        ...


class Commands:
    """Runs scripts over a connection that may break.

    A script whose answer was lost is run again: each recognises by an operation's id, a token or message ids what it has done
    already, and then answers as it did the first time.

    Args:
        root: What every key begins with.
        clock: The container's; scripts ask the server for the time where it is the machine's.
        shown: The server, without credentials.
        recover_timeout: Seconds to find out what became of a script.
    """

    def __init__(self, root: str, clock: Clock, *, shown: str, recover_timeout: float) -> None:
        # Sends once; there is none before the start and after the stop.
        self.sender: Sender | None = None
        self.root: str = root
        self.clock: Clock = clock
        self.shown: str = shown
        self._recover_timeout = recover_timeout
        self._by_server = isinstance(clock, SystemClock)
        self.scripts: Scripts | None = None
        # What the last try failed with, `None` when it was answered.
        self.trouble: str | None = None

    def run(self, name: str, *arguments: Any, again: bool = True) -> Coroutine[Any, Any, Any]:
        """Run an operation's script, and return its answer.

        Args:
            name: The operation.
            arguments: Its arguments.
            again: Whether running it twice is the same as running it once.

        Raises:
            CatgaError: `PERSISTENCE_FAILED`; `details["outcome"]` tells whether something may have been written.
        """
        sender, scripts = self._open()
        # No coroutine of its own: every operation comes this way.
        return self._send(sender, scripts.operations[name], arguments, again=again)

    async def commit(self, id: str, operations: Sequence[tuple[Any, ...]]) -> Any:
        """Do all of a unit of work or, refused, nothing.

        Args:
            id: What it is known by when it is sent again.
            operations: Name and arguments of each.

        Raises:
            CatgaError: As of `run`.
        """
        sender, scripts = self._open()
        arguments: list[Any] = [id, len(operations)]
        for name, *parts in operations:
            arguments += [name, len(parts), *parts]
        script = scripts.commit(name for name, *_ in operations)
        return await self._send(sender, script, tuple(arguments), again=True)

    async def _send(self, sender: Sender, script: Script, arguments: tuple[Any, ...], *, again: bool) -> Any:
        try:
            answer = await sender.script(script, self.root, (self._time(), *arguments))
        except (NotSentError, LostError, UnconfirmedError, RedisError) as error:
            return await self._recover(script, arguments, error, again=again)
        self.trouble = None
        return answer

    async def read(self, *parts: Any) -> Any:
        """Send a command that reads, and return its answer.

        Raises:
            CatgaError: `PERSISTENCE_FAILED`.
        """
        sender, _ = self._open()
        try:
            answer = await sender.command(*parts)
        except (NotSentError, LostError, RedisError) as error:
            return await self._recover(parts, (), error, again=True)
        self.trouble = None
        return answer

    def _open(self) -> tuple[Sender, Scripts]:
        sender, scripts = self.sender, self.scripts
        if sender is None or scripts is None:
            msg = f"the Redis storage at {self.shown} is not started, or stopped: use its stores between start and stop"
            raise failed(msg, retryable=False)
        return sender, scripts

    def _time(self) -> str:
        return "" if self._by_server else f"{self.clock.time():.6f}"

    async def _recover(
        self, what: Script | tuple[Any, ...], arguments: tuple[Any, ...], error: Exception, *, again: bool
    ) -> Any:
        writes = isinstance(what, Script) and what.writes
        lost = False

        async def attempt() -> Any:
            sender, _ = self._open()
            if isinstance(what, Script):
                return await sender.script(what, self.root, (self._time(), *arguments))
            return await sender.command(*what)

        def may_pass(error: Exception) -> bool:
            nonlocal lost
            lost = lost or (writes and isinstance(error, LostError))
            if not isinstance(error, (NotSentError, LostError, RedisError)):
                return False
            if isinstance(error, ResponseError) and not will_pass(error):
                return False
            self.trouble = str(error) or type(error).__name__
            return (again or not lost) and self.sender is not None

        try:
            answer = await _RECOVERY.run(
                attempt,
                retryable=may_pass,
                clock=_REAL_TIME,
                within=self._recover_timeout,
                failed=error,
            )
        except UnconfirmedError as last:
            raise unconfirmed(last) from last
        except ResponseError as last:
            if will_pass(last) and lost:
                raise unanswered(self.shown, last, unknown=True) from last
            raise answered(self.shown, last) from last
        except (NotSentError, LostError, RedisError) as last:
            raise unanswered(self.shown, last, unknown=lost) from last
        self.trouble = None
        return answer
