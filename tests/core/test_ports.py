"""Ports declare themselves: a Protocol declared here is a port of every container, with no other module changed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

import pytest

from catga_core import (
    Builder,
    CatgaContainer,
    Command,
    ConfigurationError,
    Event,
    Graph,
    Health,
    Problem,
    RequestHandler,
    add_catga,
)
from catga_core.container import add_stores
from catga_core.interfaces import (
    InboxStore,
    Port,
    SnapshotStore,
    Storage,
    Stores,
    declared_ports,
    port,
    port_of,
)
from catga_core.memory import MEMORY_PORTS, MemoryStorage, memory_stores


@runtime_checkable
class ScratchStore(Protocol):
    async def write(self, text: str, /) -> int: ...


class ScratchContract:
    pass


@pytest.fixture(autouse=True)
def declared_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare the scratch port for one test; its declaration would be seen by the tests of other modules."""
    module = importlib.import_module("catga_core.interfaces.port")
    monkeypatch.setattr(module, "_PORTS", {each.type: each for each in declared_ports()})
    port("scratch_notes", kept=True, transactional=True, kit="tests.core.test_ports:ScratchContract")(
        ScratchStore
    )


class ScratchInMemory:
    def __init__(self, first: int = 1) -> None:
        self.first = first
        self.written: list[str] = []

    async def write(self, text: str, /) -> int:
        self.written.append(text)
        return self.first + len(self.written) - 1


class ScratchFeature:
    """Provides the port in memory where nothing else does."""

    name = "scratch"

    def register(self, builder: Builder, /) -> None:
        builder.add_default(ScratchStore, lambda: (ScratchInMemory, {}))

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        return {}


async def test_a_port_declared_after_the_container_has_its_name(monkeypatch: pytest.MonkeyPatch):
    module = importlib.import_module("catga_core.interfaces.port")
    without = {each.type: each for each in declared_ports() if each.type is not ScratchStore}
    declared = {each.type: each for each in declared_ports()}
    with monkeypatch.context() as before:
        before.setattr(module, "_PORTS", without)
        catga = add_catga()
    monkeypatch.setattr(module, "_PORTS", declared)
    catga.add_feature(ScratchFeature())

    async with catga.running() as app:
        default = app.scratch_notes
        with catga.override("scratch_notes", other := ScratchInMemory(first=100)):
            overridden = app.scratch_notes

    assert isinstance(default, ScratchInMemory)
    assert overridden is other


class WriteScratch(Command[int]):
    text: str


class WriteScratchHandler(RequestHandler[WriteScratch, int]):
    def __init__(self, notes: ScratchStore) -> None:
        self._notes = notes

    async def handle(self, message: WriteScratch) -> int:
        return await self._notes.write(message.text)


def add_scratch(catga: CatgaContainer) -> MemoryStorage:
    storage = MemoryStorage()
    add_stores(
        catga, lambda _: Stores(storage, {ScratchStore: ScratchInMemory()}), [ScratchStore], name="scratch"
    )
    return storage


async def test_declared_port_is_found_by_name_and_by_type():
    catga = add_catga()
    add_scratch(catga)
    catga.add_handlers(WriteScratchHandler)

    async with catga.running() as app:
        by_type = app.get(ScratchStore)
        assert isinstance(by_type, ScratchInMemory)
        assert app.scratch_notes is by_type
        assert catga.scratch_notes() is by_type
        assert (await app.mediator.send(WriteScratch("a"))).value == 1
        assert by_type.written == ["a"]


async def test_declared_port_is_overridden_by_type_and_by_name():
    catga = add_catga()
    add_scratch(catga)
    catga.add_handlers(WriteScratchHandler)

    async with catga.running() as app:
        with catga.override(ScratchStore, ScratchInMemory(10)):
            assert (await app.mediator.send(WriteScratch("a"))).value == 10
        with catga.override("scratch_notes", ScratchInMemory(20)):
            assert (await app.mediator.send(WriteScratch("a"))).value == 20
        with catga.scratch_notes.override(ScratchInMemory(30)):
            assert (await app.mediator.send(WriteScratch("a"))).value == 30
        assert (await app.mediator.send(WriteScratch("a"))).value == 1


async def test_storage_of_a_transactional_port_serves_units_of_work():
    catga = add_catga()
    storage = add_scratch(catga)

    async with catga.running() as app:
        assert app.get(Storage) is storage


async def test_storage_of_other_ports_does_not_serve_units_of_work():
    catga = add_catga()
    storage = MemoryStorage()
    add_stores(catga, lambda clock: memory_stores(clock, storage), [SnapshotStore], name="snapshots")

    async with catga.running() as app:
        assert app.get(Storage) is not storage


async def test_port_without_a_registered_store_is_a_wrong_composition():
    catga = add_catga()
    catga.add_handlers(WriteScratchHandler)

    with pytest.raises(ConfigurationError, match=r"needs ScratchStore.*which"):
        async with catga.running():
            pass


async def test_port_declared_after_the_container_is_found_once_registered():
    catga = add_catga()

    @port("scratch_later", kept=True)
    class LaterStore(Protocol):
        async def write(self, text: str, /) -> int: ...

    store = ScratchInMemory()
    add_stores(catga, lambda _: Stores(MemoryStorage(), {LaterStore: store}), [LaterStore], name="later")

    async with catga.running() as app:
        assert app.scratch_later is store


def test_declaration_is_found_by_the_type():
    kit = "tests.core.test_ports:ScratchContract"
    declared = port_of(ScratchStore)

    assert declared == Port(ScratchStore, "scratch_notes", kept=True, transactional=True, kit=kit)
    assert declared in declared_ports(kept=True)
    assert port_of(ScratchInMemory) is port_of([]) is None


@pytest.mark.parametrize("kept", MEMORY_PORTS)
def test_contract_kit_of_every_kept_port_can_be_imported(kept: object):
    declared = port_of(kept)
    assert declared is not None

    kit = declared.load_kit()

    assert kit is not None
    assert kit.__name__.endswith("Contract")


def test_memory_has_a_store_of_every_port_of_the_core():
    core = {each.type for each in declared_ports(kept=True) if each.type.__module__.startswith("catga_core.")}

    assert set(MEMORY_PORTS) == core


def test_kit_that_does_not_exist_is_reported_with_its_path():
    declared = Port(ScratchStore, "scratch", kit="tests.core.test_ports:Missing")

    with pytest.raises(ConfigurationError, match=r"tests\.core\.test_ports:Missing"):
        declared.load_kit()


def test_name_of_another_port_is_refused():
    class Another(Protocol): ...

    with pytest.raises(ConfigurationError, match=r"(?s)Another.*OutboxStore"):
        port("outbox")(Another)
    assert port_of(Another) is None


def test_declaring_the_same_port_again_replaces_it():
    def declare() -> type[object]:
        @port("scratch_again")
        class Again(Protocol): ...

        return Again

    first, second = declare(), declare()

    assert port_of(first) is None
    assert port_of(second) is not None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        ("with-dash", {}),
        ("_hidden", {}),
        ("kit", {"kit": "module"}),
        ("unit", {"transactional": True}),
    ],
)
def test_wrong_declaration_is_refused(name: str, options: dict[str, object]):
    with pytest.raises(ConfigurationError):
        port(name, **options)  # type: ignore[arg-type]  # one wrong value each


def test_stores_give_each_store_by_its_port():
    store = ScratchInMemory()
    stores = Stores(MemoryStorage(), {ScratchStore: store, InboxStore: None})

    assert stores[ScratchStore] is stores.get(ScratchStore) is store
    assert stores.ports == (ScratchStore,)
    assert ScratchStore in stores
    assert InboxStore not in stores
    assert stores.get(InboxStore) is None
    with pytest.raises(ConfigurationError, match="no InboxStore; it has ScratchStore"):
        _ = stores[InboxStore]


def test_stores_are_copied_with_replacements():
    store = ScratchInMemory()
    stores = memory_stores()

    changed = stores.with_stores({ScratchStore: store, InboxStore: None})

    assert changed[ScratchStore] is store
    assert set(changed.ports) == set(stores.ports) - {InboxStore} | {ScratchStore}
    assert changed.storage is stores.storage
    assert ScratchStore not in stores


@pytest.mark.parametrize("not_a_port", [Event, Storage, "outbox"])
def test_stores_of_what_is_not_a_kept_port_are_refused(not_a_port: object):
    with pytest.raises(ConfigurationError, match=r"not a port that a storage keeps.*OutboxStore"):
        Stores(MemoryStorage(), {not_a_port: ScratchInMemory()})
