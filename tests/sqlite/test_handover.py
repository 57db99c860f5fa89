"""A loop that computes without a pause lets the threads of the storage have their turn."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import pytest

from catga_core.interfaces import Stores
from catga_sqlite.engine import handover
from catga_sqlite.engine.handover import Handover
from catga_sqlite.storage import SqliteStorage

# Seconds in which a thread has to have been let run; only a broken one takes them.
LONG = 10.0


class Machine:
    """A loop and its processor time, both moved by hand; counts how often the loop gave way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.computed = 0.0
        self.looks: list[Callable[[], None]] = []
        self.given = 0
        monkeypatch.setattr(handover, "give_way", self._give_way)
        monkeypatch.setattr(handover, "time", SimpleNamespace(thread_time=lambda: self.computed))

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, look: Callable[[], None]) -> None:
        self.looks.append(look)

    def passes(self, *, computing: float) -> None:
        """Let the loop look again, after it has computed for a part of the time."""
        self.now += 0.001
        self.computed += 0.001 * computing
        looks, self.looks = self.looks, []
        for look in looks:
            look()

    def _give_way(self) -> None:
        self.given += 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def handing(machine: Machine) -> Handover:
    return Handover(machine)  # type: ignore[arg-type]  # what it uses of a loop is there


async def test_a_busy_loop_gives_way_until_what_is_waited_for_is_done(
    machine: Machine, handing: Handover
) -> None:
    asked = asyncio.get_running_loop().create_future()
    handing.watch(asked)

    machine.passes(computing=1.0)
    machine.passes(computing=1.0)
    assert machine.given == 2

    asked.set_result(None)
    machine.passes(computing=1.0)
    assert machine.given == 2
    assert machine.looks == [], "nothing is waited for"


async def test_a_loop_that_waits_for_its_sockets_does_not_give_way(
    machine: Machine, handing: Handover
) -> None:
    handing.watch(asyncio.get_running_loop().create_future())

    machine.passes(computing=0.1)

    assert machine.given == 0
    assert len(machine.looks) == 1, "it may become busy"


async def test_what_was_asked_just_now_is_given_time_first(machine: Machine, handing: Handover) -> None:
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    handing.watch(first)
    handing.watch(second)

    first.set_result(None)
    machine.passes(computing=1.0)
    assert machine.given == 0

    machine.passes(computing=1.0)
    assert machine.given == 1


async def test_looking_begins_again_with_the_next_that_is_asked(machine: Machine, handing: Handover) -> None:
    done = asyncio.get_running_loop().create_future()
    handing.watch(done)
    done.cancel()
    machine.passes(computing=1.0)

    handing.watch(asyncio.get_running_loop().create_future())
    machine.passes(computing=1.0)

    assert machine.given == 1


async def read(storage: SqliteStorage, function: Callable[..., bool]) -> bool:
    return await storage.read(function)


async def write(storage: SqliteStorage, function: Callable[..., bool]) -> bool:
    return await storage.write(function)


async def write_in_a_unit_of_work(storage: SqliteStorage, function: Callable[..., bool]) -> bool:
    async with storage.unit_of_work():
        return await storage.write(function)


@pytest.fixture
async def busy() -> AsyncIterator[None]:
    """A loop that never waits for its sockets."""
    loop = asyncio.get_running_loop()
    over = False

    def compute() -> None:
        sum(range(2_000))
        if not over:
            loop.call_soon(compute)

    compute()
    yield
    over = True


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("ask", [read, write, write_in_a_unit_of_work])
async def test_whatever_is_asked_of_the_storage_is_watched(
    ask: Callable[[SqliteStorage, Callable[..., bool]], Awaitable[bool]],
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = threading.Event()
    monkeypatch.setattr(handover, "give_way", given.set)

    def until_given(_: sqlite3.Connection) -> bool:
        return given.wait(LONG)

    assert isinstance(stores.storage, SqliteStorage)
    assert await ask(stores.storage, until_given)


async def test_giving_way_is_not_taken_for_a_blocking_call() -> None:
    # Every test here runs with a tool that reports these; an application's tests may as well.
    handover.give_way()
