"""Runs scripts: what a store asks is done once, or it is told that nobody knows."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

from catga_core.clock import Clock, SystemClock
from catga_redis.engine.failures import (
    LostError,
    NotSentError,
    UnconfirmedError,
    answered,
    cause_of,
    describe,
    not_started,
    unanswered,
    unconfirmed,
)
from catga_redis.engine.recovery import Recovery, StoppedError
from catga_redis.engine.scripts import Script, Scripts


class Sender(Protocol):
    """Sends to a server, or to the right one of a cluster, once."""

    @property
    def confirms(self) -> bool:
        """Whether writes are confirmed by disks or replicas before they are acknowledged."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, `None` while there is one."""
        ...

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
        patience: Seconds to wait for a server that refuses for now, as while it loads its data.
        recover_timeout: Seconds to find out what became of a script whose answer was lost.
    """

    def __init__(
        self, root: str, clock: Clock, *, shown: str, patience: float, recover_timeout: float
    ) -> None:
        # Sends once; there is none before the start and after the stop.
        self.sender: Sender | None = None
        self.root: str = root
        self.clock: Clock = clock
        self.shown: str = shown
        self._patience = patience
        self._recover_timeout = recover_timeout
        self._by_server = isinstance(clock, SystemClock)
        self.scripts: Scripts | None = None
        # What the last attempt to reach the server failed with, `None` when it was answered.
        self._trouble: str | None = None
        # What the server refused, or did not confirm, since the last check of it.
        self.refused: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why the server does not answer, `None` while it does."""
        sender = self.sender
        return self._trouble or (None if sender is None else sender.trouble)

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

    async def confirm(self) -> None:
        """Have what was read confirmed by disks and replicas, where writes are: it may be another caller's write.

        Raises:
            CatgaError: As of `run`.
        """
        sender, _ = self._open()
        if sender.confirms:
            await self.run("confirm")

    async def forbidden(self) -> str | None:
        """Return which commands of the scripts the user may not give, `None` for none.

        Raises:
            CatgaError: As of `run`.
        """
        _, scripts = self._open()
        found = await self.run("forbidden", len(scripts.called), *scripts.called)
        return scripts.forbidden(found)

    async def _send(self, sender: Sender, script: Script, arguments: tuple[Any, ...], *, again: bool) -> Any:
        try:
            answer = await sender.script(script, self.root, (self._time(), *arguments))
        except (NotSentError, LostError, UnconfirmedError, RedisError) as error:
            return await self._recover(script, arguments, error, again=again)
        self._trouble = None
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
        self._trouble = None
        return answer

    def _open(self) -> tuple[Sender, Scripts]:
        sender, scripts = self.sender, self.scripts
        if sender is None or scripts is None:
            raise not_started(self.shown)
        return sender, scripts

    def _time(self) -> str:
        return "" if self._by_server else f"{self.clock.time():.6f}"

    async def _recover(
        self, what: Script | tuple[Any, ...], arguments: tuple[Any, ...], error: Exception, *, again: bool
    ) -> Any:
        """Go on after a failed first attempt, for a limited time, and raise what is known of the write at its end."""
        recovery = Recovery(
            writes=isinstance(what, Script) and what.writes,
            again=again,
            recover_timeout=self._recover_timeout,
            note=self._note,
        )

        async def attempt() -> Any:
            sender = self.sender
            if sender is None:
                raise StoppedError
            if isinstance(what, Script):
                return await sender.script(what, self.root, (self._time(), *arguments))
            return await sender.command(*what)

        try:
            answer = await recovery.run(attempt, error, patience=self._patience)
        except (NotSentError, LostError, UnconfirmedError, StoppedError, RedisError) as last:
            raise self._failure(last, lost=recovery.lost, wrote=recovery.writes) from last
        self._trouble = None
        return answer

    def _note(self, error: Exception) -> None:
        if isinstance(error, UnconfirmedError):
            self.refused = f"writes are not confirmed: {error}"
        elif isinstance(error, ResponseError | AuthenticationError | AuthorizationError):
            self.refused = cause_of(error) or self.refused
        else:
            self._trouble = describe(error)

    def _failure(self, error: Exception, *, lost: bool, wrote: bool) -> Exception:
        if isinstance(error, UnconfirmedError):
            return unconfirmed(error)
        if isinstance(error, StoppedError) or self.sender is None:
            return not_started(self.shown, unknown=lost)
        if isinstance(error, ResponseError | AuthenticationError | AuthorizationError):
            return answered(self.shown, error, unknown=lost, wrote=wrote)
        return unanswered(self.shown, error, unknown=lost)
