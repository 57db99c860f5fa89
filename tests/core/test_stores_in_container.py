"""How stores get into a container: by default, by a plugin, the last one for each port."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    Clock,
    Command,
    ConfigurationError,
    Event,
    Health,
    HealthStatus,
    Module,
    RequestHandler,
    add_catga,
    add_memory_catga,
)
from catga_core.container import add_stores
from catga_core.event_sourcing import EventTypes
from catga_core.interfaces import (
    CheckpointStore,
    DeadLetterStore,
    EventLog,
    EventStore,
    IdempotencyStore,
    InboxStore,
    LockProvider,
    OutboxStore,
    SnapshotStore,
    Storage,
    Stores,
)
from catga_core.memory import MEMORY_PORTS, MemoryStorage, memory_stores
from catga_testing import ManualClock

PORTS = [*MEMORY_PORTS, EventStore]


class Noted(Event):
    text: str


class Note(Command[int]):
    text: str


class NoteHandler(RequestHandler[Note, int]):
    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def handle(self, message: Note) -> int:
        return (await self._store.append("notes", Noted(message.text))).version


class Watched(MemoryStorage):
    """Notes when it is opened and closed."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self._name = name
        self._log = log

    async def start(self) -> None:
        self._log.append(f"{self._name} started")

    async def stop(self) -> None:
        self._log.append(f"{self._name} stopped")

    def health(self) -> Health:
        opened = f"{self._name} started" in self._log
        return Health(HealthStatus.HEALTHY if opened else HealthStatus.UNHEALTHY, self._name)


def add_watched(catga: CatgaContainer, name: str, log: list[str], *ports: Any) -> None:
    add_stores(catga, lambda clock: memory_stores(clock, Watched(name, log)), ports, name=name)


@pytest.mark.parametrize("port", PORTS)
async def test_every_port_is_there_without_a_line_of_configuration(port: Any):
    async with add_catga().running() as app:
        assert isinstance(app.get(port), port)


async def test_the_running_application_offers_each_store_under_its_providers_name():
    catga = add_catga()
    async with catga.running() as app:
        assert app.event_store is app.get(EventStore) is catga.event_store()
        assert app.snapshot_store is app.get(SnapshotStore) is catga.snapshot_store()
        assert app.checkpoints is app.get(CheckpointStore) is catga.checkpoints()
        assert app.idempotency_store is app.get(IdempotencyStore) is catga.idempotency_store()
        assert app.inbox is app.get(InboxStore) is catga.inbox()
        assert app.outbox is app.get(OutboxStore) is catga.outbox()
        assert app.dead_letters is app.get(DeadLetterStore) is catga.dead_letters()
        assert app.event_types is app.get(EventTypes) is catga.event_types()


async def test_the_default_stores_are_of_one_storage():
    async with add_catga().running() as app:
        async with app.unit_of_work():
            await app.event_store.append("notes", Noted("a"))
            await app.inbox.record("m-1", "h")
        assert await app.event_store.version("notes") == 1
        assert await app.inbox.seen("m-1", "h")


async def test_a_unit_of_work_that_raises_leaves_nothing():
    async with add_catga().running() as app:
        with pytest.raises(ZeroDivisionError):
            async with app.unit_of_work():
                await app.event_store.append("notes", Noted("a"))
                await app.inbox.record("m-1", "h")
                raise ZeroDivisionError
        assert await app.event_store.version("notes") == 0
        assert not await app.inbox.seen("m-1", "h")


async def test_a_handler_is_given_the_store_by_type_and_its_events_carry_the_message():
    catga = add_catga()
    catga.add_handlers(NoteHandler)

    async with catga.running() as app:
        result = await app.mediator.send(Note("a"), message_id="m-1")
        (stored,) = [each async for each in app.event_store.read("notes")]

    assert result.value == 1
    assert (stored.event, stored.causation_id, stored.correlation_id) == (Noted("a"), "m-1", "m-1")


async def test_state_that_is_kept_in_memory_by_default_is_told_at_start(
    log: list[MutableMapping[str, Any]],
):
    catga = add_catga()
    catga.add_handlers(NoteHandler)

    async with catga.running():
        pass

    (line,) = [line for line in log if line["event"] == "catga.state_in_memory"]
    assert line["ports"] == ["EventLog"]
    assert line["log_level"] == "warning"


@pytest.mark.parametrize("uses_it", [True, False])
async def test_state_in_memory_is_not_told_where_it_is_meant_or_nothing_uses_it(
    log: list[MutableMapping[str, Any]], uses_it: bool
):
    catga = add_catga()
    if uses_it:
        add_memory_catga(catga)
        catga.add_handlers(NoteHandler)

    async with catga.running():
        pass

    assert not [line for line in log if line["event"] == "catga.state_in_memory"]


async def test_a_storage_is_opened_before_what_uses_it_and_closed_after():
    log: list[str] = []

    class Worker:
        def __init__(self, store: EventStore) -> None:
            self._store = store

        async def start(self) -> None:
            log.append("worker started")

        async def stop(self) -> None:
            log.append("worker stopped")

    catga = add_catga()
    catga.add_hosted(Worker)
    add_watched(catga, "place", log, EventLog)

    async with catga.running() as app:
        assert app.health()["place_storage"].status is HealthStatus.HEALTHY

    assert log == ["place started", "worker started", "worker stopped", "place stopped"]


async def test_the_last_storage_wins_for_each_port_and_one_without_any_stays_closed():
    log: list[str] = []
    catga = add_catga()
    add_watched(catga, "first", log, EventLog, LockProvider)
    add_watched(catga, "second", log, EventLog)
    add_watched(catga, "third", log, LockProvider)

    async with catga.running() as app:
        first, second = app.first_storage.stores, app.second_storage.stores
        assert app.get(EventLog) is second[EventLog]
        assert app.get(Storage) is second.storage is not first.storage

    assert sorted(log) == ["second started", "second stopped", "third started", "third stopped"]


async def test_storage_that_is_not_used_is_healthy():
    catga = add_catga()
    add_watched(catga, "first", [], EventLog)
    add_watched(catga, "second", [], EventLog)

    async with catga.running() as app:
        first, second = (app.health()[f"{name}_storage"] for name in ("first", "second"))

    assert first == Health(HealthStatus.HEALTHY, "not used: another storage provides its ports")
    assert second == Health(HealthStatus.HEALTHY, "second")


async def test_the_unit_of_work_is_of_the_last_storage_that_keeps_what_handlers_write():
    catga = add_catga()
    add_watched(catga, "events", [], EventLog, OutboxStore)
    add_watched(catga, "locks", [], LockProvider, DeadLetterStore)

    async with catga.running() as app:
        assert app.get(Storage) is app.events_storage.stores.storage


async def test_a_storage_that_does_not_open_stops_the_start():
    class Broken(MemoryStorage):
        async def start(self) -> None:
            raise ConfigurationError("the place is not there: make it")

    catga = add_catga()
    add_stores(catga, lambda clock: memory_stores(clock, Broken()), [EventLog], name="broken")

    with pytest.raises(ConfigurationError, match="the place is not there"):
        async with catga.running():
            pass


async def test_a_port_that_a_storage_does_not_have_is_an_error_at_start():
    catga = add_catga()
    add_stores(catga, lambda _: Stores(MemoryStorage()), [LockProvider], name="poor")

    with pytest.raises(ConfigurationError, match="the storage 'poor' has no LockProvider"):
        async with catga.running():
            pass


def test_what_is_no_port_of_stores_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"^Clock is not a port that a storage keeps; such ports are .*EventLog"
    ):
        add_stores(add_catga(), memory_stores, [Clock], name="odd")


async def test_an_event_over_the_size_limit_is_refused_and_nothing_is_written():
    async with add_catga(CatgaOptions(max_event_bytes=100)).running() as app:
        with pytest.raises(CatgaError, match="max_event_bytes is 100"):
            await app.event_store.append("notes", [Noted("short"), Noted("x" * 100)])
        assert await app.event_store.version("notes") == 0


async def test_the_stores_are_given_the_containers_clock():
    clock = ManualClock()
    catga = add_catga()
    catga.add_singleton(Clock, clock)

    async with catga.running() as app:
        await app.event_store.append("notes", Noted("a"))
        (stored,) = [each async for each in app.event_store.read("notes")]

    assert stored.recorded_at == clock.now()


async def test_a_store_is_overridden_by_its_name_on_a_running_container_and_its_dependents_see_it():
    catga = add_catga()
    catga.add_handlers(NoteHandler)
    other = memory_stores()

    async with catga.running() as app:
        with catga.event_log.override(other[EventLog]):
            assert (await app.mediator.send(Note("a"))).value == 1
            assert (await app.mediator.send(Note("b"))).value == 2
        assert (await app.mediator.send(Note("c"))).value == 1


async def test_a_module_may_need_a_port_of_stores():
    class Notes(Module):
        needs = (EventStore,)

        def register(self, catga: CatgaContainer) -> None:
            catga.add_handlers(NoteHandler)

    catga = add_catga()
    catga.add_module(Notes)

    async with catga.running() as app:
        assert (await app.mediator.send(Note("a"))).value == 1
