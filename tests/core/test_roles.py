"""Roles: a tool opens the same container and consumes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catga_core import CatgaMediator, CatgaOptions, Command, ConfigurationError, Event, EventStore, add_catga
from catga_core.builtin_plugins import add_memory_transport
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_sqlite import SqliteOptions, add_sqlite_catga
from catga_testing import eventually


class Note(Command[str]):
    pass


class Noted(Event):
    pass


class Pool:
    """Something that messages rely on."""

    def __init__(self) -> None:
        self.started = False

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.started = False


class Importer:
    """Something that sends messages on its own."""

    def __init__(self, mediator: CatgaMediator) -> None:
        self.mediator = mediator
        self.started = False

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.started = False


async def note(message: Note) -> str:
    del message
    return "noted"


def composed(bus: str, consumed: list[Any], file: Path, service_name: str = "notes") -> Any:
    catga = add_catga(CatgaOptions(service_name=service_name, enable_outbox=True))
    add_memory_transport(catga, f"memory://{bus}")
    add_sqlite_catga(catga, SqliteOptions(path=file))

    async def on_noted(event: Noted) -> None:
        consumed.append(event)

    add_subscription(catga, "notes", on_noted)
    catga.add_handlers(note)
    catga.add_hosted(Pool)
    catga.add_hosted(Importer)
    return catga


async def test_an_admin_tool_sends_and_reads_but_consumes_nothing(tmp_path: Path):
    consumed: list[Any] = []
    async with composed("roles-admin", consumed, tmp_path / "notes.db").running(roles={"admin"}) as app:
        answer = await app.mediator.send(Note())
        await app.get(EventStore).append("note-1", Noted())
        started = {name for name, part in app.health().items() if part.status.value == "healthy"}
        pool, importer = app.get(Pool), app.get(Importer)
        running = (pool.started, importer.started)

    assert answer.unwrap() == "noted"
    assert running == (True, False)
    assert consumed == []
    assert {"outbox_relay", "outbox_monitor", "pruning"} & started == set()


async def test_a_process_that_only_works_consumes_but_answers_nobody(tmp_path: Path):
    consumed: list[Any] = []
    asking = add_catga(CatgaOptions(service_name="asking"))
    add_memory_transport(asking, "memory://roles-work")
    async with (
        composed("roles-work", consumed, tmp_path / "notes.db").running(roles={"work"}) as app,
        asking.running() as other,
    ):
        await app.get(EventStore).append("note-1", Noted())
        await eventually(lambda: consumed)
        answer = await other.mediator.send(Note(), timeout=0.2)

    assert not answer.is_success
    assert len(consumed) == 1


async def test_a_process_that_only_serves_answers_but_consumes_nothing(tmp_path: Path):
    consumed: list[Any] = []
    asking = add_catga(CatgaOptions(service_name="asking"))
    add_memory_transport(asking, "memory://roles-serve")
    async with (
        composed("roles-serve", consumed, tmp_path / "notes.db").running(roles={"serve"}) as app,
        asking.running() as other,
    ):
        await app.get(EventStore).append("note-1", Noted())
        answer = await other.mediator.send(Note(), timeout=5)
        importer = app.get(Importer)

    assert answer.unwrap() == "noted"
    assert (importer.started, consumed) == (False, [])


@pytest.mark.parametrize(
    ("roles", "named"), [({"cook"}, "cook"), (set[str](), "empty"), ("admin", "not a set")]
)
async def test_roles_that_are_none_are_refused(roles: Any, named: str):
    with pytest.raises(ConfigurationError, match=named):
        async with add_catga().running(roles=roles):
            pass


@pytest.mark.parametrize("roles", [{"serve"}, {"admin"}])
async def test_an_outbox_in_memory_needs_a_relay_in_this_process(roles: Any):
    catga = add_catga(CatgaOptions(enable_outbox=True))

    with pytest.raises(ConfigurationError, match="role 'work'"):
        async with catga.running(roles=roles):
            pass
