"""Projections and subscriptions are handlers like any other: behaviors, scopes, validation, overrides, context, results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, MutableMapping
from typing import Any

import pytest

from catga_core import (
    Behavior,
    CatgaApp,
    CatgaContainer,
    CatgaError,
    CatgaMediator,
    CatgaResult,
    Command,
    ConfigurationError,
    HealthStatus,
    MessageContext,
    Stage,
    current_context,
)
from catga_core.event_sourcing.projections import (
    OnFailure,
    Projection,
    ProjectionMode,
    add_projection,
    current_projection,
    project,
)
from catga_core.event_sourcing.subscriptions import Delivery, add_subscription
from catga_core.interfaces import EventData, StoredEvent
from catga_core.interfaces.validation import ValidationProblem, Validator
from tests.core.event_sourcing.consuming import (
    Deposited,
    Recorder,
    Table,
    container_at,
    deposit,
    document,
    fast,
)
from tests.stores import Place

Consume = Callable[[CatgaContainer, Any], None]


class Session:
    """A scoped service that notes its life in a journal."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal

    def note(self, what: str) -> None:
        self.journal.append(what)


def add_session(catga: CatgaContainer, journal: list[str]) -> None:
    def session() -> Generator[Session]:
        journal.append("opened")
        try:
            yield Session(journal)
        except Exception as error:
            journal.append(f"rolled back: {error!r}")
            raise
        journal.append("closed")

    catga.add_scoped(Session, session)


class Totals(Projection, name="totals"):
    def __init__(self, session: Session) -> None:
        self.session = session

    async def reset(self) -> None:
        self.session.note(f"reset {current_projection().target}")

    @project
    async def deposited(self, event: Deposited) -> None:
        self.session.note(f"handled {event.amount}")
        if event.amount < 0:
            raise ValueError("negative")


class Audit:
    def __init__(self, session: Session) -> None:
        self.session = session

    async def handle(self, event: Deposited) -> None:
        self.session.note(f"handled {event.amount}")
        if event.amount < 0:
            raise ValueError("negative")


async def audit(event: Deposited, session: Session) -> None:
    await Audit(session).handle(event)


async def consumed(app: CatgaApp, name: str) -> None:
    """Wait for a consumer, of whichever kind."""
    directory: Any = app.projections if name in app.projections.names else app.subscriptions
    await directory.caught_up(name)


@pytest.mark.parametrize("handler", [Audit, audit])
@pytest.mark.parametrize("delivery", [Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
async def test_subscription_gets_one_scoped_service_per_event(
    memory: Place, handler: Any, delivery: Delivery
) -> None:
    journal: list[str] = []
    catga = container_at(memory)
    add_session(catga, journal)
    add_subscription(
        catga, "audit", handler, delivery=delivery, on_failure=OnFailure.SKIP, **fast(attempts=1)
    )
    async with container_at(memory).running() as app:
        await deposit(app, "a", 1)
        await deposit(app, "a", -1)
    async with catga.running() as app:
        await app.subscriptions.caught_up("audit")

    failed = ["opened", "handled -1", "rolled back: ValueError('negative')"]
    handled = ["opened", "handled 1", "closed"]
    if delivery is Delivery.EXACTLY_ONCE:
        # First in one batch, then each alone.
        assert journal == [*handled, *failed, *handled, *failed]
    else:
        assert journal == [*handled, *failed]


@pytest.mark.parametrize("mode", [ProjectionMode.CATCH_UP, ProjectionMode.LIVE, ProjectionMode.IN_MEMORY])
async def test_projection_gets_one_scoped_service_per_event(memory: Place, mode: ProjectionMode) -> None:
    journal: list[str] = []
    catga = container_at(memory)
    add_session(catga, journal)
    add_projection(catga, Totals, mode=mode, on_failure=OnFailure.SKIP, **fast(attempts=1, batch_size=1))
    async with catga.running() as app:
        await deposit(app, "a", 1)
        await app.projections.caught_up("totals")
        await deposit(app, "a", -1)
        await app.projections.caught_up("totals")

    failed = ["opened", "handled -1", "rolled back: ValueError('negative')"]
    assert journal[:3] == ["opened", "reset totals_1", "closed"]
    assert journal[3:] == ["opened", "handled 1", "closed", *failed]


async def test_inline_projection_gets_its_own_scope_and_fails_the_append(memory: Place) -> None:
    journal: list[str] = []
    catga = container_at(memory)
    add_session(catga, journal)
    add_projection(catga, Totals, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        journal.clear()
        await deposit(app, "a", 1)
        with pytest.raises(
            CatgaError, match="inline projection 'totals' failed for Deposited: ValueError: negative"
        ):
            await deposit(app, "a", -1)
        assert await app.event_store.version("account-a") == 1

    assert journal == [
        *["opened", "handled 1", "closed"],
        *["opened", "handled -1", "rolled back: ValueError('negative')"],
    ]


async def test_scoped_service_that_is_awaited_is_ready_for_reset_and_events(memory: Place) -> None:
    journal: list[str] = []

    async def session() -> AsyncGenerator[Session]:
        await asyncio.sleep(0)
        yield Session(journal)
        journal.append("closed")

    catga = container_at(memory)
    catga.add_scoped(Session, session)
    add_projection(catga, Totals, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 1)
        await app.projections.caught_up("totals")

    assert journal == ["reset totals_1", "closed", "handled 1", "closed"]


async def test_scoped_service_that_cannot_close_fails_the_event(memory: Place) -> None:
    def session() -> Generator[Session]:
        yield Session([])
        raise ValueError("cannot commit")

    catga = container_at(memory)
    catga.add_scoped(Session, session)
    add_subscription(catga, "audit", audit, on_failure=OnFailure.PARK, **fast(attempts=1))
    async with catga.running() as app:
        await deposit(app, "a", 1)
        await app.subscriptions.caught_up("audit")
        (letter,) = (await app.dead_letters.find()).letters

    assert letter.message == "ValueError: cannot commit"


async def test_projection_of_singletons_stays_one_object(memory: Place) -> None:
    catga = container_at(memory)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 1, times=2)
        await app.projections.caught_up("balances")
        assert app.get(Balances).calls == 2


async def test_missing_service_of_a_consumer_is_a_composition_error(memory: Place) -> None:
    class Unknown:
        pass

    async def listen(event: Deposited, unknown: Unknown) -> None: ...

    catga = container_at(memory)
    add_subscription(catga, "listener", listen)
    with pytest.raises(ConfigurationError, match=r"listen needs Unknown.*which"):
        catga.validate()


class Balances(Projection, name="balances"):
    def __init__(self, table: Table) -> None:
        self.table = table
        self.calls = 0

    @project
    async def deposited(self, event: Deposited, stored: StoredEvent) -> None:
        self.calls += 1
        await self.table.add("balances", event.account, event.amount * stored.version)


class Doubled(Behavior[Deposited, Any]):
    """Passes another event on, and notes what comes back."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    async def handle(
        self, message: Deposited, next: Callable[[Deposited], Awaitable[CatgaResult[Any]]]
    ) -> CatgaResult[Any]:
        result = await next(Deposited(message.account, message.amount * 2))
        self.recorder.note((message.amount, result.is_success))
        return result


async def balance(event: Deposited, stored: StoredEvent, table: Table) -> None:
    await table.add("balances", event.account, event.amount * stored.version)


def as_projection(catga: CatgaContainer, **options: Any) -> None:
    add_projection(catga, Balances, **fast(**options))


def as_subscription(catga: CatgaContainer, **options: Any) -> None:
    add_subscription(catga, "balances", balance, delivery=Delivery.EXACTLY_ONCE, **fast(**options))


consumers = pytest.mark.parametrize("add", [as_projection, as_subscription])


@consumers
async def test_behavior_wraps_each_event(memory: Place, add: Callable[..., None]) -> None:
    recorder = Recorder()
    catga = container_at(memory)
    catga.add_singleton(Recorder, recorder, instance=True)
    catga.add_behavior(Doubled)
    add(catga)
    async with catga.running() as app:
        await deposit(app, "a", 3)
        await deposit(app, "a", 1)
        await consumed(app, "balances")
        assert await document(app, "balances") == {"a": 3 * 2 * 1 + 1 * 2 * 2}

    assert recorder.seen == [(3, True), (1, True)]


@consumers
async def test_behavior_that_answers_instead_decides_the_outcome(
    memory: Place, add: Callable[..., None]
) -> None:
    class Refuse(Behavior[Deposited, Any]):
        stage = Stage.RATE_LIMIT

        async def handle(self, message: Deposited, next: Any) -> CatgaResult[Any]:
            if message.amount > 10:
                return CatgaResult.failure(code="VALIDATION_FAILED", message="too much")
            return await next(message)  # type: ignore[no-any-return]

    catga = container_at(memory)
    catga.add_behavior(Refuse())
    add(catga, on_failure=OnFailure.PARK)
    async with catga.running() as app:
        await deposit(app, "a", 11)
        await deposit(app, "a", 1)
        await consumed(app, "balances")
        (letter,) = (await app.dead_letters.find()).letters
        assert (letter.code, letter.message, letter.attempts) == ("VALIDATION_FAILED", "too much", 1)
        assert await document(app, "balances") == {"a": 2}


@consumers
async def test_validator_applies_to_stored_events(memory: Place, add: Callable[..., None]) -> None:
    class Positive(Validator[Deposited]):
        def validate(self, message: Deposited) -> list[ValidationProblem]:
            return [] if message.amount > 0 else [ValidationProblem("amount", "must be above 0")]

    catga = container_at(memory)
    catga.add_validator(Positive)
    add(catga, on_failure=OnFailure.PARK)
    async with catga.running() as app:
        await deposit(app, "a", -5)
        await consumed(app, "balances")
        (letter,) = (await app.dead_letters.find()).letters
        assert (letter.code, letter.attempts) == ("VALIDATION_FAILED", 1)
        assert await document(app, "balances") == {}


@consumers
async def test_override_of_a_service_is_seen_while_running(memory: Place, add: Callable[..., None]) -> None:
    class Nowhere:
        async def add(self, name: str, key: str, amount: int) -> None: ...

    catga = container_at(memory)
    add(catga)
    async with catga.running() as app:
        await deposit(app, "a", 1)
        await consumed(app, "balances")
        with catga.override(Table, Nowhere):
            await deposit(app, "b", 1)
            await consumed(app, "balances")
        await deposit(app, "c", 1)
        await consumed(app, "balances")
        assert await document(app, "balances") == {"a": 1, "c": 1}


async def test_override_of_a_projection_is_seen_while_running(memory: Place) -> None:
    class Other(Balances, name="other"):
        @project
        async def deposited(self, event: Deposited, stored: StoredEvent) -> None:
            await self.table.add("other", event.account, event.amount)

    catga = container_at(memory)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        with catga.override(Balances, Other):
            await deposit(app, "a", 1)
            await app.projections.caught_up("balances")
        await deposit(app, "b", 1)
        await app.projections.caught_up("balances")
        assert await document(app, "other") == {"a": 1}
        assert await document(app, "balances") == {"b": 1}


class Notify(Command[None]):
    amount: int


@pytest.mark.parametrize("delivery", [Delivery.AT_LEAST_ONCE, Delivery.EXACTLY_ONCE])
async def test_what_a_subscription_sends_continues_the_event(memory: Place, delivery: Delivery) -> None:
    contexts: list[MessageContext] = []

    async def notify(message: Notify) -> None:
        contexts.append(current_context())

    async def react(event: Deposited, mediator: CatgaMediator, context: MessageContext) -> None:
        assert context is current_context()
        contexts.append(context)
        (await mediator.send(Notify(event.amount))).unwrap()

    catga = container_at(memory)
    catga.add_handlers(notify)
    add_subscription(catga, "reactor", react, delivery=delivery, **fast())
    async with catga.running() as app:
        event = EventData(Deposited("a", 1), message_id="event-1", headers={"tenant": "t"})
        await app.event_store.append("account-a", event)
        await app.subscriptions.caught_up("reactor")
        (stored,) = [each async for each in app.event_store.read("account-a")]

    own, sent = contexts
    assert (own.message_id, own.correlation_id, own.causation_id, dict(own.headers)) == (
        "event-1",
        stored.correlation_id or "event-1",
        stored.causation_id,
        {"tenant": "t"},
    )
    assert (sent.correlation_id, sent.causation_id) == (own.correlation_id, "event-1")


async def test_inline_projection_sees_the_context_of_its_event(memory: Place) -> None:
    seen: list[str] = []

    class Ids(Projection, name="ids"):
        @project
        async def deposited(self, event: Deposited) -> None:
            seen.append(current_context().message_id)

    catga = container_at(memory)
    add_projection(catga, Ids, mode=ProjectionMode.INLINE, **fast())
    async with catga.running() as app:
        await app.event_store.append("account-a", EventData(Deposited("a", 1), message_id="event-1"))

    assert seen == ["event-1"]


@consumers
async def test_failing_event_is_logged_with_enable_logging(
    memory: Place, add: Callable[..., None], log: list[MutableMapping[str, Any]]
) -> None:
    class Broken(Table):
        async def add(self, name: str, key: str, amount: int) -> None:
            raise ValueError("broken")

    catga = memory.container(enable_logging=True)
    catga.add_singleton(Table, Broken)
    add(catga, on_failure=OnFailure.SKIP, attempts=1)
    async with catga.running() as app:
        await app.event_store.append("account-a", EventData(Deposited("a", 1), message_id="event-1"))
        await consumed(app, "balances")

    failed = [line for line in log if line["event"] == "catga.message_failed"]
    assert failed
    for line in failed:
        assert (line["message_type"], line["kind"], line["message_id"]) == ("Deposited", "event", "event-1")
        assert (line["code"], line["error"]) == ("HANDLER_FAILED", "balances failed: broken")
        assert "ValueError: broken" in line["stack"]


async def test_failure_that_a_subscription_returns_is_the_events_failure(memory: Place) -> None:
    async def refuse(event: Deposited) -> CatgaResult[None]:
        return CatgaResult.failure(code="VALIDATION_FAILED", message="no")

    catga = container_at(memory)
    add_subscription(catga, "refuse", refuse, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 1)
        with pytest.raises(CatgaError, match="failed: VALIDATION_FAILED: no"):
            await app.subscriptions.caught_up("refuse")
        assert app.health()["subscription_refuse"].status is HealthStatus.UNHEALTHY


async def test_parked_event_is_replayed_through_the_pipeline(memory: Place) -> None:
    recorder = Recorder()
    broken = True

    async def listen(event: Deposited) -> None:
        if broken:
            raise ValueError("no")

    catga = container_at(memory)
    catga.add_singleton(Recorder, recorder, instance=True)
    catga.add_behavior(Doubled)
    add_subscription(catga, "listener", listen, on_failure=OnFailure.PARK, **fast(attempts=1))
    async with catga.running() as app:
        await deposit(app, "a", 1)
        await app.subscriptions.caught_up("listener")
        broken = False
        assert (await app.subscriptions.replay_parked("listener")).handled == 1

    assert recorder.seen == [(1, False), (1, True)]


async def test_features_of_deliveries_do_not_apply_to_consumers(memory: Place) -> None:
    catga = memory.container(
        enable_outbox=True, enable_inbox=True, enable_dead_letter_queue=True, enable_idempotency=True
    )
    calls: list[int] = []

    async def listen(event: Deposited) -> None:
        calls.append(event.amount)
        if event.amount < 0:
            raise ValueError("no")

    add_subscription(catga, "listener", listen, on_failure=OnFailure.SKIP, **fast(attempts=2))
    async with catga.running() as app:
        # Two events with one message id: the inbox would leave the second one out.
        for stream in ("account-a", "account-b"):
            await app.event_store.append(stream, EventData(Deposited("a", 1), message_id="same"))
        await deposit(app, "a", -1)
        await app.subscriptions.caught_up("listener")
        assert await app.dead_letters.count() == 0

    assert calls == [1, 1, -1, -1]


async def test_projection_goes_on_while_the_container_drains(memory: Place) -> None:
    release = asyncio.Event()

    class Slow(Command[int]):
        pass

    catga = container_at(memory)

    async def slow(message: Slow) -> int:
        await release.wait()
        app = running[0]
        position = await deposit(app, "a", 1)
        await app.projections.wait_for("balances", position)
        return int((await document(app, "balances"))["a"])

    running: list[CatgaApp] = []
    catga.add_handlers(slow)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        running.append(app)
        sending = asyncio.create_task(app.mediator.send(Slow()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(release.set)

    assert (await sending).unwrap() == 1


async def test_consumers_start_before_hosted_services_that_send(memory: Place) -> None:
    class Seeder:
        def __init__(self, mediator: CatgaMediator) -> None:
            self.mediator = mediator

        async def start(self) -> None:
            position = await deposit(running(), "a", 1)
            await running().projections.wait_for("balances", position)

        async def stop(self) -> None: ...

    catga = container_at(memory)
    running = lambda: CatgaApp(catga)
    catga.add_hosted(Seeder)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        assert await document(app, "balances") == {"a": 1}


async def test_hosted_service_of_a_consumer_starts_before_it(memory: Place) -> None:
    order: list[str] = []

    class Gateway:
        def __init__(self, mediator: CatgaMediator) -> None:
            self.mediator = mediator

        async def start(self) -> None:
            order.append("started")

        async def stop(self) -> None:
            order.append("stopped")

    class Sent(Projection, name="sent"):
        def __init__(self, gateway: Gateway) -> None:
            self.gateway = gateway

        async def reset(self) -> None:
            order.append("reset")

        @project
        def deposited(self, event: Deposited) -> None: ...

    catga = container_at(memory)
    add_projection(catga, Sent, mode=ProjectionMode.LIVE)
    catga.add_hosted(Gateway)
    async with catga.running():
        pass

    assert order == ["started", "reset", "stopped"]
