"""Processes over one storage and one clock, some of which die."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import msgspec

from catga_core import CatgaApp, CatgaOptions, add_catga
from catga_core.clock import Clock
from catga_core.container import add_stores
from catga_core.interfaces import SagaStore, Stores
from catga_core.memory.stores import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_core.runtime.unit_of_work import open_unit_of_work
from catga_core.sagas import (
    Saga,
    SagaContext,
    SagaDefinition,
    SagaExecutor,
    SagaOptions,
    SagaResult,
    add_sagas,
    saga,
)
from catga_testing import ManualClock
from catga_testing.waiting import eventually

T = TypeVar("T")

LEASE = 30.0


class Data(msgspec.Struct):
    items: int = 1
    note: str = ""


Execute = Callable[[Data, SagaContext], Awaitable[str]]


def saga_of(
    execute: Execute, *, compensate: Callable[[Data], Awaitable[None]] | None = None, **declared: Any
) -> type[Saga[Data, str]]:
    """Return a class of sagas that runs a function."""
    declared.setdefault("name", "order")

    @saga(**declared)
    class Order(Saga[Data, str]):
        async def execute(self, data: Data, saga: SagaContext) -> str:
            return await execute(data, saga)

    if compensate is None:
        return Order
    undo = compensate

    @saga(**declared)
    class Undone(Order):
        async def compensate(self, data: Data) -> None:
            await undo(data)

    return Undone


class Crashed(BaseException):
    """The process died here."""


def _raise(error: Exception) -> None:
    raise error


class DyingStore:
    """A saga store of a process that dies before, or after, one of its writes."""

    def __init__(self, store: SagaStore) -> None:
        self._store = store
        self.writes = 0
        self.dies_at: float | None = None
        # Errors that calls of a method fail with, by its name: the first before its next call, and so on.
        self.fails: dict[str, list[Exception]] = {}
        # Methods that do not answer.
        self.hangs: set[str] = set()
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        method = self._failing(name, getattr(self._store, name))
        if name in {"append", "release", "begin"}:
            return self._dying(method)

        async def call(*args: Any, **options: Any) -> Any:
            self._check()
            return await method(*args, **options)

        return call

    def _failing(self, name: str, method: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def call(*args: Any, **options: Any) -> T:
            if name in self.hangs:
                await asyncio.Event().wait()
            if errors := self.fails.get(name):
                raise errors.pop(0)
            result = await method(*args, **options)
            unit = open_unit_of_work()
            if unit is not None and (errors := self.fails.get(f"commit of {name}")):
                unit.before_commit(lambda: _raise(errors.pop(0)))
            return result

        return call

    def die(self) -> None:
        self.dead = True

    def _dying(self, method: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def write(*args: Any, **options: Any) -> T:
            self._check()
            self.writes += 1
            number = self.writes
            if self.dies_at == number:
                self.dead = True
            self._check()
            result = await method(*args, **options)
            if self.dies_at == number + 0.5:
                self.dead = True
            self._check()
            return result

        return write

    def _check(self) -> None:
        if self.dead:
            raise Crashed


class Process:
    """One process: its application, and its store."""

    def __init__(self, app: CatgaApp, store: DyingStore) -> None:
        self.app = app
        self.store = store

    @property
    def executor(self) -> SagaExecutor:
        return self.app.get(SagaExecutor)

    async def execute(
        self, transaction_id: str, saga: type[Saga[Data, str]], data: Data | None = None
    ) -> SagaResult[str]:
        return await self.executor.execute(transaction_id, data or Data(), saga, timeout=5)


class Replicas:
    """Processes over one storage in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.storage = MemoryStorage()
        self.running = AsyncExitStack()
        self.effects: list[str] = []

    async def start(
        self,
        *sagas: type[Saga[Any, Any]] | SagaDefinition[Any, Any],
        dies_at: float | None = None,
        options: SagaOptions | None = None,
        prepare: Callable[[Any], None] | None = None,
        clock: Clock | None = None,
        **sagas_options: Any,
    ) -> Process:
        """Start a process; it dies before its nth write, or after it with n + 0.5."""
        catga = add_catga(CatgaOptions(service_name="orders"))
        catga.add_singleton(Clock, clock or self.clock)
        made: list[DyingStore] = []

        def stores(clock: Clock) -> Stores:
            plain = memory_stores(clock, self.storage)
            dying = DyingStore(plain[SagaStore])
            dying.dies_at = dies_at
            made.append(dying)
            return plain.with_stores({SagaStore: dying})

        add_stores(catga, stores, MEMORY_PORTS, name="memory")
        if prepare is not None:
            prepare(catga)
        chosen = options or SagaOptions(lease_seconds=LEASE, poll_seconds=0.02, linger_seconds=1e-3)
        add_sagas(catga, *sagas, options=chosen, **sagas_options)
        app = await self.running.enter_async_context(catga.running())
        app.get(SagaStore)
        return Process(app, made[0])

    def effect(self, name: str, *, result: Any = None, fails: Sequence[Exception] = ()) -> Any:
        """Return a step that notes that it ran, and fails first with some errors."""
        errors = list(fails)

        async def run(*given: Any) -> Any:
            self.effects.append(f"{name}({', '.join(map(str, given))})" if given else name)
            if errors:
                raise errors.pop(0)
            return result

        return run

    async def taken_over(
        self,
        dead: Process,
        *sagas: type[Saga[Any, Any]] | SagaDefinition[Any, Any],
        options: SagaOptions | None = None,
        **sagas_options: Any,
    ) -> Process:
        """Wait until a process has died, and let another one take its sagas over."""
        await eventually(lambda: dead.store.dead)
        process = await self.start(*sagas, options=options, **sagas_options)
        await self.clock.run_for(LEASE + 1)
        return process
