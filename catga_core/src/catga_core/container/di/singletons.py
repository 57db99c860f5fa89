"""What lasts as long as the container: each is made once for a set of overrides, and closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from catga_core.container.di.making import note_making
from catga_core.container.di.overrides import Override
from catga_core.container.di.products import AsyncNeeded, Product
from catga_core.container.di.registration import Registration
from catga_core.errors import ConfigurationError
from catga_core.runtime.cancellation import being_cancelled
from catga_core.runtime.home_loop import HomeLoop
from catga_core.runtime.scope import Closer

SingletonKey = tuple[Any, frozenset[int]]
"""A service, or the registration of what is none, and the numbers of the overrides that reach it."""


class Singletons:
    """Keeps what has been made, and knows how to close it.

    Attributes:
        home: The event loop of the container, while it runs; nothing is made in another one.
    """

    __slots__ = ("_building", "_closers", "_made", "home")

    def __init__(self) -> None:
        self.home: HomeLoop = HomeLoop()
        self._made: dict[SingletonKey, Any] = {}
        self._closers: list[tuple[SingletonKey, Closer]] = []
        self._building: dict[SingletonKey, asyncio.Lock] = {}

    def get(self, key: SingletonKey, registration: Registration, make: Callable[[], Product]) -> Any:
        """Return what is kept under a key; where nothing is, make it first.

        Args:
            key: What to keep it under.
            registration: How it is made, for the error.
            make: Makes it.

        Raises:
            ConfigurationError: Nothing is kept, and the container runs in another event loop.
        """
        if key not in self._made:
            problem = self.home.problem()
            if problem is not None:
                msg = f"The container {problem}"
                raise ConfigurationError(msg)
            try:
                made, closer = make()
            except AsyncNeeded:
                raise
            except Exception as error:
                note_making(error, registration)
                raise
            self._keep(key, made, closer)
        return self._made[key]

    async def get_async(
        self, key: SingletonKey, registration: Registration, make: Callable[[], Awaitable[Product]]
    ) -> Any:
        """Return what is kept under a key; where nothing is, make it first, while other callers wait.

        Args:
            key: What to keep it under.
            registration: How it is made, for the error.
            make: Makes it.
        """
        if key in self._made:
            return self._made[key]
        # One makes it and the others wait; a waiter that is cancelled takes nothing from them.
        lock = self._building.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if key not in self._made:
                    try:
                        made, closer = await make()
                    except AsyncNeeded:
                        raise
                    except Exception as error:
                        note_making(error, registration)
                        raise
                    self._keep(key, made, closer)
                return self._made[key]
        finally:
            if not lock.locked():
                self._building.pop(key, None)

    def holds(self, made: Any) -> bool:
        """Tell whether an object is kept here."""
        return any(made is known for known in self._made.values())

    def disown(self, made: Any) -> None:
        """Leave the closing of an object to somebody else."""
        self._closers = [each for each in self._closers if self._made.get(each[0]) is not made]

    def forget(self, gone: Override) -> None:
        """Drop what was made under an override that can never be asked for again; it is closed at the end."""
        self._made = {
            key: made
            for key, made in self._made.items()
            if gone.number not in key[1] and key[0] is not gone.registration
        }

    async def close(self) -> list[Exception]:
        """Close everything in reverse order of making; return what went wrong."""
        errors: list[Exception] = []
        while self._closers:
            _, closer = self._closers.pop()
            try:
                pending = closer(None)
                if pending is not None:
                    await pending
            except asyncio.CancelledError:
                # As with a service that stops: it awaited what it has cancelled, and is closed.
                if being_cancelled():
                    raise
            except Exception as error:  # noqa: BLE001 - the others must still be closed
                errors.append(error)
        self._made.clear()
        self._building.clear()
        return errors

    def _keep(self, key: SingletonKey, made: Any, closer: Closer | None) -> None:
        # A factory may give out another service's object under a second name; it is closed once.
        shared = self.holds(made)
        self._made[key] = made
        if closer is not None and not shared:
            self._closers.append((key, closer))
