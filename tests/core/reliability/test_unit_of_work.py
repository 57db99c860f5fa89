from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaOptions,
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    Query,
    add_catga,
)
from catga_core.container import add_stores
from catga_core.interfaces.dead_letters import DeadLetterStore
from catga_core.interfaces.event_log import EventLog
from catga_core.interfaces.idempotency import Claimed, IdempotencyStore
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.outbox import OutboxStore
from catga_core.memory.stores import memory_stores
from catga_core.unit_of_work import active_unit_of_work
from catga_testing import ManualClock
from tests.core.reliability.support import moved
from tests.core.support import Gate
from tests.stores import Place


class Note(Command[str]):
    key: str
    then: str = "succeed"


class Outer(Command[str]):
    then: str = "succeed"


class Noted(Event):
    key: str


class Ask(Query[bool]):
    pass


def noting(place: Place, **options: Any):
    """An application whose handlers write a note into the inbox store: a write that joins the unit of work."""
    gate = Gate()

    async def note(message: Note, inbox: InboxStore) -> Any:
        await inbox.record(message.key, "notes")
        if message.then == "fail":
            return CatgaResult.failure(code="NO_PAPER")
        if message.then == "raise":
            raise ValueError("no paper")
        if message.then == "wait":
            await gate.pass_through()
        return "noted"

    async def ask(message: Ask) -> bool:
        return active_unit_of_work.get() is not None

    catga = place.container(**{"enable_outbox": True, "enable_outbox_relay": False, **options})
    catga.add_handlers(note, ask)
    return catga, gate


async def is_noted(app: Any, key: str) -> bool:
    inbox: InboxStore = app.inbox
    return await inbox.seen(key, "notes")


async def test_a_command_is_committed_when_it_succeeds(place: Place):
    catga, _ = noting(place)
    async with catga.running() as app:
        assert (await app.mediator.send(Note("a"))).value == "noted"
        assert await is_noted(app, "a")


@pytest.mark.parametrize(("then", "code"), [("fail", "NO_PAPER"), ("raise", "HANDLER_FAILED")])
async def test_a_command_that_fails_is_rolled_back_and_keeps_its_error(place: Place, then: str, code: str):
    catga, _ = noting(place)
    async with catga.running() as app:
        result = await app.mediator.send(Note("a", then))

        assert result.error.code == code
        assert not await is_noted(app, "a")


async def test_a_command_that_is_cancelled_is_rolled_back(place: Place):
    catga, gate = noting(place)
    async with catga.running() as app:
        sending = asyncio.create_task(app.mediator.send(Note("a", "wait")))
        await gate.reached()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

        assert not await is_noted(app, "a")


async def test_a_command_that_runs_out_of_time_is_rolled_back(place: Place):
    catga, _ = noting(place, timeout_seconds=0.05)
    async with catga.running() as app:
        assert (await app.mediator.send(Note("a", "wait"))).error.code == "TIMEOUT"
        assert not await is_noted(app, "a")


async def test_a_query_is_in_no_unit_of_work(place: Place):
    catga, _ = noting(place)
    async with catga.running() as app:
        assert (await app.mediator.send(Ask())).value is False


async def test_without_the_outbox_a_command_is_in_no_unit_of_work(place: Place):
    catga, _ = noting(place, enable_outbox=False)
    async with catga.running() as app:
        await app.mediator.send(Note("a", "fail"))
        assert await is_noted(app, "a")


async def test_a_command_sent_by_a_handler_is_in_the_same_unit_of_work(place: Place):
    catga, _ = noting(place)

    async def outer(message: Outer, mediator: Any = None) -> Any:
        await app.mediator.send(Note("inner"))
        return CatgaResult.failure(code="CHANGED_MY_MIND")

    catga.add_handlers(outer)
    async with catga.running() as app:
        await app.mediator.send(Outer())
        assert not await is_noted(app, "inner")


async def test_a_command_that_failed_inside_of_another_is_rolled_back_alone(place: Place):
    catga, _ = noting(place)

    async def outer(message: Outer) -> Any:
        await app.mediator.send(Note("before"))
        failed = await app.mediator.send(Note("inner", "fail"))
        assert failed.error.code == "NO_PAPER"
        return "went on as if nothing had happened"

    catga.add_handlers(outer)
    async with catga.running() as app:
        result = await app.mediator.send(Outer())

        assert result.unwrap() == "went on as if nothing had happened"
        assert await is_noted(app, "before")
        assert not await is_noted(app, "inner")


async def test_a_commit_that_fails_is_the_commands_failure(place: Place):
    catga, _ = noting(place)

    async def outer(message: Outer) -> str:
        def refuse() -> None:
            raise CatgaError("somebody else was faster", code="CONFLICT")

        active_unit_of_work.get().before_commit(refuse)
        return "done"

    catga.add_handlers(outer)
    async with catga.running() as app:
        result = await app.mediator.send(Outer())

    assert (result.error.code, result.error.message) == ("CONFLICT", "somebody else was faster")


async def test_each_event_handler_has_a_unit_of_work_of_its_own(place: Place):
    async def fails(message: Noted, inbox: InboxStore) -> None:
        await inbox.record(message.key, "fails")
        raise ValueError("no paper")

    async def works(message: Noted, inbox: InboxStore) -> None:
        await inbox.record(message.key, "works")

    catga, _ = noting(place)
    catga.add_handlers(fails, works)
    async with catga.running() as app:
        await app.mediator.publish(Noted("a"))
        assert [await app.inbox.seen("a", each) for each in ("fails", "works")] == [False, True]


async def test_an_idempotent_command_is_recorded_with_its_effect_or_not_at_all(place: Place):
    catga, _ = noting(place, enable_idempotency=True)

    async def outer(message: Outer, inbox: InboxStore) -> str:
        await inbox.record("effect", "notes")

        def refuse() -> None:
            if message.then == "fail":
                raise CatgaError("somebody else was faster", code="CONFLICT")

        active_unit_of_work.get().before_commit(refuse)
        return "done"

    catga.add_handlers(outer)
    async with catga.running() as app:
        failed = await app.mediator.send(Outer("fail"), message_id="o-1")
        assert failed.error.code == "CONFLICT"
        assert not await is_noted(app, "effect")
        # Nothing was recorded either: the next try is done, whatever else it says.
        done = await app.mediator.send(Outer(), message_id="o-1")
        assert done.value == "done"
        assert await is_noted(app, "effect")
        assert (await app.mediator.send(Outer(), message_id="o-1")).value == "done"
        assert app.health()["idempotency"].details["repeated_commands"] == 1


async def test_an_idempotent_command_whose_claim_was_taken_over_is_rolled_back(memory: Place):
    catga, gate = noting(memory, enable_idempotency=True, idempotency_lease_seconds=30)

    async def outer(message: Outer, inbox: InboxStore) -> str:
        # Paused for longer than its lease.
        await gate.pass_through()
        await inbox.record("effect", "notes")
        return "done"

    catga.add_handlers(outer)
    clock = ManualClock()
    ahead = ManualClock(clock.time() + 31)
    async with moved(catga, clock) as app, moved(memory, ahead) as other:
        sending = asyncio.create_task(app.mediator.send(Outer(), message_id="o-1"))
        await gate.reached()
        theirs = await other.idempotency_store.claim("Outer:o-1", lease=30)
        assert isinstance(theirs, Claimed)
        gate.open()

        assert (await sending).error.code == "LOCKED"
        assert not await is_noted(app, "effect")
        await other.idempotency_store.complete(theirs, b"", ttl=60)


async def test_a_result_that_has_no_bytes_rolls_the_effect_back(place: Place):
    class Unencodable:
        pass

    catga, _ = noting(place, enable_idempotency=True)

    async def outer(message: Outer, inbox: InboxStore) -> Any:
        await inbox.record("effect", "notes")
        return Unencodable()

    catga.add_handlers(outer)
    async with catga.running() as app:
        result = await app.mediator.send(Outer(), message_id="o-1")

        assert result.error.details["outcome"] == "rolled_back"
        assert "its effect was rolled back" in result.error.message
        assert not await is_noted(app, "effect")


async def test_results_kept_elsewhere_are_recorded_after_the_commit(place: Place):
    catga, _ = noting(place, enable_idempotency=True)
    add_stores(catga, lambda clock: memory_stores(clock), [IdempotencyStore], name="elsewhere")
    async with catga.running() as app:
        assert (await app.mediator.send(Note("a"), message_id="n-1")).value == "noted"
        assert await is_noted(app, "a")
        assert (await app.mediator.send(Note("a"), message_id="n-1")).value == "noted"
        assert app.health()["idempotency"].details["repeated_commands"] == 1


@pytest.mark.parametrize(
    ("option", "port", "what"),
    [("enable_outbox", OutboxStore, "the outbox"), ("enable_inbox", InboxStore, "the inbox")],
)
async def test_stores_of_two_storages_that_belong_into_one_transaction_are_refused_at_start(
    memory: Place, option: str, port: Any, what: str
):
    catga = memory.container(**{option: True})
    add_stores(catga, lambda clock: memory_stores(clock), [EventLog], name="elsewhere")

    with pytest.raises(
        ConfigurationError, match=rf"{option}: {what} is kept in MemoryStorage.*ElsewhereStorage"
    ):
        catga.validate()


async def test_an_event_log_that_no_unit_of_work_could_roll_back_is_refused_at_start(memory: Place):
    catga = memory.container(enable_outbox=True)
    add_stores(catga, lambda clock: memory_stores(clock), [OutboxStore], name="elsewhere")

    with pytest.raises(ConfigurationError, match=r"the event log is kept in MemoryStorage.*ElsewhereStorage"):
        async with catga.running():
            pass


async def test_an_outbox_needs_no_event_log(memory: Place):
    catga = add_catga(CatgaOptions(enable_outbox=True))
    add_stores(catga, lambda clock: memory_stores(clock), [OutboxStore, DeadLetterStore], name="elsewhere")

    async with catga.running():
        pass
