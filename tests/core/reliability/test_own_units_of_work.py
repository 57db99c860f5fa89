"""A handler with `@own_units_of_work` decides for itself what is one transaction."""

from __future__ import annotations

import pytest

from catga_core import (
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    EventHandler,
    RequestHandler,
    add_catga,
)
from catga_core.interfaces import InboxStore, Storage
from catga_core.reliability import own_units_of_work
from catga_core.unit_of_work import active_unit_of_work
from tests.stores import Place


class Refuse(Command[None]):
    pass


class Happened(Event):
    pass


class Notes:
    """What the handlers below have seen, and a store whose writes a rollback takes back."""

    def __init__(self, inbox: InboxStore, storage: Storage) -> None:
        self.inbox = inbox
        self.storage = storage
        self.surrounded: list[bool] = []

    async def refuse(self) -> CatgaResult[None]:
        self.surrounded.append(active_unit_of_work.get() is not None)
        async with self.storage.unit_of_work():
            await self.inbox.record("m-1", "kept")
        return CatgaResult.failure(code="NO")


class InAUnit(RequestHandler[Refuse, None]):
    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def handle(self, message: Refuse) -> CatgaResult[None]:
        return await self._notes.refuse()


@own_units_of_work
class OnItsOwn(InAUnit):
    pass


@own_units_of_work
async def refuse_once(message: Refuse, notes: Notes) -> CatgaResult[None]:
    return await notes.refuse()


@pytest.mark.parametrize(("handler", "own"), [(InAUnit, False), (OnItsOwn, True)])
async def test_what_it_has_committed_stays_when_its_result_is_a_failure(
    place: Place, handler: type[InAUnit], own: bool
) -> None:
    catga = place.container(enable_outbox=True)
    catga.add_singleton(Notes)
    catga.add_handlers(handler)
    async with catga.running() as app:
        assert (await app.mediator.send(Refuse())).error.code == "NO"
        notes = app.get(Notes)
        assert notes.surrounded == [not own]
        assert await notes.inbox.seen("m-1", "kept") is own


async def test_a_function_may_have_it_and_so_may_a_command_that_is_done_once(place: Place) -> None:
    catga = place.container(enable_outbox=True, enable_idempotency=True)
    catga.add_singleton(Notes)
    catga.add_handlers(refuse_once)
    async with catga.running() as app:
        assert (await app.mediator.send(Refuse())).error.code == "NO"
        assert app.get(Notes).surrounded == [False]
        assert await app.get(Notes).inbox.seen("m-1", "kept")


@own_units_of_work
class Listens(EventHandler[Happened]):
    async def handle(self, message: Happened) -> None:
        raise AssertionError


def test_on_what_handles_no_command_it_is_refused() -> None:
    catga = add_catga()
    catga.add_handlers(Listens)
    with pytest.raises(
        ConfigurationError, match="Listens has @own_units_of_work, which is for handlers of commands"
    ):
        catga.validate()


def test_on_what_is_no_handler_it_is_refused() -> None:
    with pytest.raises(TypeError, match="requires a handler class or function; got a str"):
        own_units_of_work("handler")  # type: ignore[type-var]  # what a caller without a type checker may do
