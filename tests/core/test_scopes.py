from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest

from catga_core import (
    Behavior,
    CatgaMediator,
    CatgaResult,
    Command,
    Event,
    MessageContext,
    Next,
    RequestHandler,
    Success,
    add_catga,
)
from catga_core.runtime.scope import active_scope
from catga_testing.waiting import eventually
from tests.core.support import Gate


class Do(Command[str]):
    how: str = "well"


class Outer(Command[bool]):
    pass


class Happened(Event):
    pass


Log = list[str]


class Session:
    """Notes how it ends."""

    def __init__(self, log: Log) -> None:
        self.log = log


class Unit:
    def __init__(self, session: Session) -> None:
        self.session = session


class Cursor:
    log: Log = []

    def close(self) -> None:
        self.log.append("cursor closed")


class DoHandler(RequestHandler[Do, str]):
    gate: Gate

    def __init__(self, session: Session) -> None:
        self.session = session

    async def handle(self, message: Do) -> str | CatgaResult[str]:
        self.session.log.append(f"handled {message.how}")
        if message.how == "raises":
            raise ValueError("broken")
        if message.how == "fails":
            return CatgaResult.failure(code="REFUSED")
        if message.how == "waits":
            await self.gate.pass_through()
        return message.how


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture(params=["async", "sync"])
def session(request: pytest.FixtureRequest, log: Log) -> Any:
    """A unit of work: commits at the end, rolls back on an exception."""

    async def transaction() -> AsyncIterator[Session]:
        log.append("begin")
        try:
            yield Session(log)
        except BaseException as error:
            log.append(f"rollback on {type(error).__name__}")
            raise
        log.append("commit")

    def plain_transaction() -> Iterator[Session]:
        log.append("begin")
        try:
            yield Session(log)
        except BaseException as error:
            log.append(f"rollback on {type(error).__name__}")
            raise
        log.append("commit")

    return transaction if request.param == "async" else plain_transaction


# --- how a scope ends ---


@pytest.mark.parametrize(
    ("how", "end"),
    [("well", "commit"), ("raises", "rollback on ValueError"), ("fails", "rollback on CatgaError")],
)
async def test_a_unit_of_work_sees_how_the_message_ended(how: str, end: str, session: Any, log: Log):
    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        result = await app.mediator.send(Do(how))

    assert log == ["begin", f"handled {how}", end]
    assert result.is_success is (how == "well")
    if how == "raises":
        assert result.error.message == "DoHandler failed: broken"
    if how == "fails":
        assert result.error.code == "REFUSED"


async def test_a_unit_of_work_sees_the_cancellation(session: Any, log: Log):
    DoHandler.gate = Gate()
    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Do("waits")))
        await DoHandler.gate.reached()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert log == ["begin", "handled waits", "rollback on CancelledError"]


async def test_a_unit_of_work_sees_the_timeout(session: Any, log: Log):
    DoHandler.gate = Gate()
    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        result = await app.mediator.send(Do("waits"), timeout=0.01)

    assert result.error.code == "TIMEOUT"
    assert log[-1] == "rollback on CancelledError"


async def test_a_unit_of_work_that_swallows_the_exception_does_not_turn_the_failure_into_a_success(log: Log):
    async def forgiving() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        except ValueError:
            log.append("swallowed")

    catga = add_catga()
    catga.add_scoped(Session, forgiving)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        result = await app.mediator.send(Do("raises"))

    assert log == ["handled raises", "swallowed"]
    assert result.error.message == "DoHandler failed: broken"


async def test_a_commit_that_fails_fails_the_message(log: Log):
    async def breaks() -> AsyncIterator[Session]:
        yield Session(log)
        raise OSError("disk full")

    catga = add_catga()
    catga.add_scoped(Session, breaks)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        result = await app.mediator.send(Do())

    assert (result.error.code, result.error.message) == ("HANDLER_FAILED", "DoHandler failed: disk full")


async def test_a_rollback_that_fails_keeps_the_first_error_and_notes_the_second(log: Log):
    async def breaks() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        finally:
            raise OSError("disk full")

    catga = add_catga()
    catga.add_scoped(Session, breaks)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        error = (await app.mediator.send(Do("raises"))).error

    assert error.message == "DoHandler failed: broken"
    assert error.__cause__ is not None
    assert error.__cause__.__notes__ == ["Closing its scope failed too: OSError: disk full"]


async def test_a_rollback_that_fails_does_not_hide_a_cancellation(log: Log):
    async def breaks() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        finally:
            raise OSError("disk full")

    DoHandler.gate = Gate()
    catga = add_catga()
    catga.add_scoped(Session, breaks)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Do("waits")))
        await DoHandler.gate.reached()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_what_is_opened_last_is_closed_first(log: Log):
    async def session() -> AsyncIterator[Session]:
        log.append("session opened")
        yield Session(log)
        log.append("session closed")

    def unit(session: Session) -> Iterator[Unit]:
        log.append("unit opened")
        yield Unit(session)
        log.append("unit closed")

    async def do(message: Do, unit: Unit, cursor: Cursor) -> str:
        return message.how

    Cursor.log = log
    catga = add_catga()
    catga.add_scoped(Unit, unit)
    catga.add_scoped(Session, session)
    catga.add_scoped(Cursor)
    catga.add_handlers(do)

    async with catga.running() as app:
        await app.mediator.send(Do())

    assert log == ["session opened", "unit opened", "cursor closed", "unit closed", "session closed"]


async def test_what_is_further_out_does_not_commit_what_failed_further_in(log: Log):
    async def session() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        except OSError as error:
            log.append(f"session rolled back on {error}")
            raise
        log.append("session committed")

    async def unit(session: Session) -> AsyncIterator[Unit]:
        yield Unit(session)
        raise OSError("disk full")

    async def do(message: Do, unit: Unit) -> str:
        return message.how

    catga = add_catga()
    catga.add_scoped(Unit, unit)
    catga.add_scoped(Session, session)
    catga.add_handlers(do)

    async with catga.running() as app:
        result = await app.mediator.send(Do())

    assert log == ["session rolled back on disk full"]
    assert result.error.message == "do failed: disk full"


async def test_an_async_factory_that_cannot_open_fails_the_message_and_closes_what_was_opened(log: Log):
    async def session() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        except OSError:
            log.append("session closed")
            raise

    async def unit(session: Session) -> AsyncIterator[Unit]:
        if session.log == []:
            raise OSError("no route to host")
        yield Unit(session)

    async def do(message: Do, unit: Unit) -> str:
        return message.how

    catga = add_catga()
    catga.add_scoped(Unit, unit)
    catga.add_scoped(Session, session)
    catga.add_handlers(do)

    async with catga.running() as app:
        result = await app.mediator.send(Do())

    assert result.error.message == "do failed: no route to host"
    assert log == ["session closed"]


async def test_a_factory_that_yields_twice_fails_the_message(log: Log):
    async def twice() -> AsyncIterator[Session]:
        yield Session(log)
        yield Session(log)

    catga = add_catga()
    catga.add_scoped(Session, twice)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        error = (await app.mediator.send(Do())).error

    assert "yielded twice. Yield the service once" in error.message


async def test_a_factory_that_gives_out_a_singleton_does_not_close_it():
    class Pool:
        closed = False

        def close(self) -> None:
            self.closed = True

    class Closable(Protocol):
        def close(self) -> None: ...

    def same(pool: Pool) -> Closable:
        return pool

    async def do(message: Do, closable: Closable) -> str:
        return message.how

    catga = add_catga()
    catga.add_singleton(Pool)
    catga.add_scoped(Closable, same)
    catga.add_handlers(do)

    async with catga.running() as app:
        await app.mediator.send(Do())
        assert not app.get(Pool).closed


# --- who shares a scope ---


class Sees(Behavior[Any, Any]):
    seen: list[Session]

    def __init__(self, session: Session) -> None:
        self.session = session

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        self.seen.append(self.session)
        return await next(message)


class SeesToo(Sees):
    pass


async def test_behaviors_and_handler_share_the_messages_scope(session: Any, log: Log):
    Sees.seen = SeesToo.seen = seen = []

    async def do(message: Do, unit: Unit) -> str:
        seen.append(unit.session)
        return message.how

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_scoped(Unit)
    catga.add_behavior(Sees)
    catga.add_behavior(SeesToo)
    catga.add_handlers(do)

    async with catga.running() as app:
        await app.mediator.send(Do())

    assert len(seen) == 3
    assert len(set(map(id, seen))) == 1
    assert log == ["begin", "commit"]


async def test_a_nested_message_has_a_scope_of_its_own(session: Any, log: Log):
    seen: list[Session] = []

    async def do(message: Do, session: Session) -> str:
        seen.append(session)
        return message.how

    async def outer(message: Outer, mediator: CatgaMediator, session: Session) -> bool:
        await mediator.send(Do())
        seen.append(session)
        return active_scope.get() is not None

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(do, outer)

    async with catga.running() as app:
        assert await app.mediator.send(Outer()) == Success(True)

    assert seen[0] is not seen[1]
    assert log == ["begin", "begin", "commit", "commit"]


async def test_each_event_handler_has_a_scope_of_its_own(log: Log):
    seen: list[Session] = []

    async def transaction() -> AsyncIterator[Session]:
        try:
            yield Session(log)
        except ValueError:
            log.append("rollback")
            raise
        log.append("commit")

    async def one(message: Happened, session: Session) -> None:
        seen.append(session)

    async def two(message: Happened, session: Session) -> None:
        seen.append(session)
        raise ValueError("broken")

    async def three(message: Happened, session: Session) -> None:
        seen.append(session)

    catga = add_catga()
    catga.add_scoped(Session, transaction)
    catga.add_handlers(one, two, three)

    async with catga.running() as app:
        await app.mediator.publish(Happened())

    assert len(set(map(id, seen))) == 3
    assert sorted(log) == ["commit", "commit", "rollback"]


async def test_there_is_no_scope_after_the_message(session: Any, log: Log):
    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(DoHandler)

    async with catga.running() as app:
        await app.mediator.send(Do())
        await app.mediator.send(Do("raises"))

        assert active_scope.get() is None


async def test_a_task_that_outlives_its_message_gets_nothing_from_its_scope():
    tasks: list[asyncio.Task[Any]] = []
    gate = Gate()

    catga = add_catga()

    async def later() -> None:
        await gate.pass_through()
        catga.get(Cursor)

    async def do(message: Do, cursor: Cursor) -> str:
        tasks.append(asyncio.ensure_future(later()))
        return message.how

    catga.add_scoped(Cursor)
    catga.add_handlers(do)

    async with catga.running() as app:
        await app.mediator.send(Do())
        gate.open()
        with pytest.raises(LookupError, match="Cursor is scoped, and its message has been handled"):
            await tasks[0]


# --- many at once ---


class Job(Command[tuple[int, str, str]]):
    pass


class Inner(Command[tuple[str, str | None]]):
    pass


async def test_a_thousand_messages_at_once_never_share_a_scope_nor_cross_their_correlation():
    open_sessions: set[int] = set()
    most = 0

    async def session() -> AsyncIterator[Session]:
        nonlocal most
        made = Session([])
        open_sessions.add(id(made))
        most = max(most, len(open_sessions))
        yield made
        open_sessions.remove(id(made))

    async def inner(message: Inner, context: MessageContext, session: Session) -> tuple[str, str | None]:
        await asyncio.sleep(0)
        return context.correlation_id, context.causation_id

    async def job(
        message: Job, context: MessageContext, unit: Unit, session: Session, mediator: CatgaMediator
    ) -> tuple[int, str, str]:
        assert unit.session is session
        session.log.append(context.message_id)
        await asyncio.sleep(0)
        correlation, causation = (await mediator.send(Inner())).unwrap()
        assert correlation == context.correlation_id
        assert causation == context.message_id
        await asyncio.sleep(0)
        assert session.log == [context.message_id]
        return id(session), context.message_id, context.correlation_id

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_scoped(Unit)
    catga.add_handlers(job, inner)

    async with catga.running() as app:
        results = await asyncio.gather(
            *(app.mediator.send(Job(), message_id=f"job-{number}") for number in range(1_000))
        )

    values = [result.unwrap() for result in results]
    assert most >= 1_000, "they were not open at the same time"
    assert len({session_id for session_id, _, _ in values}) == 1_000
    assert [(message_id, correlation) for _, message_id, correlation in values] == [
        (f"job-{number}", f"job-{number}") for number in range(1_000)
    ]
    assert open_sessions == set()


async def test_cancelling_one_message_leaves_the_others_alone(log: Log):
    gate = Gate()

    async def session() -> AsyncIterator[Session]:
        made = Session([])
        try:
            yield made
        except asyncio.CancelledError:
            log.append(f"rollback of {made.log[0]}")
            raise
        log.append(f"commit of {made.log[0]}")

    async def do(message: Do, session: Session) -> str:
        session.log.append(message.how)
        await gate.pass_through()
        return message.how

    catga = add_catga()
    catga.add_scoped(Session, session)
    catga.add_handlers(do)

    async with catga.running() as app:
        tasks = [asyncio.ensure_future(app.mediator.send(Do(str(number)))) for number in range(3)]
        await eventually(lambda: gate.arrived == 3)
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        gate.open()
        first, third = await tasks[0], await tasks[2]

    assert tasks[1].cancelled()
    assert (first, third) == (Success("0"), Success("2"))
    assert log == ["rollback of 1", "commit of 0", "commit of 2"]
