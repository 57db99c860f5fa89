"""Features: capabilities of a third party are added by the same call as Catga's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from catga_core import (
    Behavior,
    Builder,
    CatgaOptions,
    CatgaResult,
    Command,
    ConfigurationError,
    Event,
    FeatureOptions,
    Graph,
    Health,
    HealthStatus,
    MessageContext,
    Next,
    Problem,
    Stage,
    add_catga,
    current_context,
    message_type,
)
from catga_core.features.outbox.monitor import OutboxMonitor
from catga_core.features.outbox.relay import OutboxRelay
from catga_core.mediator import Dispatcher
from catga_core.reliability import (
    InboxOptions,
    OutboxOptions,
    add_dead_letters,
    add_idempotency,
    add_inbox,
    add_outbox,
)


class Count(Command[int]):
    pass


class Counter:
    def __init__(self) -> None:
        self.counted = 0
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    def health(self) -> Health:
        return Health(HealthStatus.HEALTHY, "counting")


class Counting(Behavior[Any, Any]):
    stage = Stage.METRICS

    def __init__(self, counter: Counter, step: int) -> None:
        self.counter = counter
        self.step = step

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        self.counter.counted += self.step
        return await next(message)


class CountingFeature:
    name = "counting"

    def __init__(self, step: int = 1, problems: Iterable[str] = ()) -> None:
        self.step = step
        self.problems = list(problems)
        self.handlers: list[str] = []

    def register(self, builder: Builder, /) -> None:
        services = builder.services
        builder.add_worker(Counter, Counter, name="counter")
        builder.add_stage(lambda _handler: [Counting(services.get(Counter), self.step)])
        builder.on_handler(lambda handler: self.handlers.append(handler.name))

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        del graph
        return [Problem(text) for text in self.problems]

    def health(self) -> Mapping[str, Health]:
        return {"counting": Health(HealthStatus.HEALTHY, "", {"step": self.step})}


async def count(message: Count) -> int:
    del message
    return 1


async def count_also(message: CountAlso) -> int:
    del message
    return 1


class CountAlso(Command[int]):
    pass


async def test_a_feature_brings_a_stage_a_worker_and_health():
    catga = add_catga()
    catga.add_handlers(count)
    catga.add_feature(CountingFeature())

    async with catga.running() as app:
        await app.mediator.send(Count())
        counter = app.get(Counter)
        health = app.health()

    assert (counter.counted, counter.running) == (1, False)
    assert health["counter"].description == "counting"
    assert health["counting"].details == {"step": 1}


async def test_a_feature_of_the_same_name_replaces_all_that_the_first_contributed():
    catga = add_catga()
    catga.add_handlers(count)
    catga.add_feature(CountingFeature(step=1))
    catga.add_feature(CountingFeature(step=10))

    async with catga.running() as app:
        await app.mediator.send(Count())
        counted = app.get(Counter).counted

    assert counted == 10


async def test_a_feature_knows_handlers_from_before_and_after_it():
    catga, feature = add_catga(), CountingFeature()
    catga.add_handlers(count)
    catga.add_feature(feature)
    catga.add_handlers(count_also)

    assert feature.handlers == ["count", "count_also"]


async def test_a_service_of_a_feature_can_be_overridden():
    catga, double = add_catga(), Counter()
    catga.add_handlers(count)
    catga.add_feature(CountingFeature())

    async with catga.running() as app:
        with catga.override(Counter, double):
            await app.mediator.send(Count())
        await app.mediator.send(Count())
        real = app.get(Counter)

    assert (double.counted, real.counted) == (1, 1)


async def test_service_of_the_application_stays_when_a_feature_is_replaced():
    catga, own = add_catga(CatgaOptions(enable_inbox=True)), Counter()
    catga.add_handlers(count)
    catga.add_feature(CountingFeature())
    catga.add_singleton(Counter, own)
    add_inbox(catga, InboxOptions(retention_seconds=60))

    async with catga.running() as app:
        await app.mediator.send(Count())

        assert app.get(Counter) is own
    assert own.counted == 1


async def test_problems_of_every_feature_are_told_before_anything_starts():
    catga, feature = add_catga(), CountingFeature(problems=["one is wrong", "two is wrong"])
    catga.add_feature(feature)

    with pytest.raises(ConfigurationError) as caught:
        async with catga.running():
            pass

    assert set(caught.value.problems) >= {"one is wrong", "two is wrong"}


@pytest.mark.parametrize(
    ("given", "missing"),
    [(CountingFeature, "got a class"), (Counter(), "name, register, validate"), ("outbox", "name, register")],
)
def test_what_is_not_a_feature_is_refused(given: Any, missing: str):
    with pytest.raises(ConfigurationError, match=missing):
        add_catga().add_feature(given)


async def test_a_feature_cannot_be_added_while_the_container_runs():
    catga = add_catga()
    async with catga.running():
        with pytest.raises(ConfigurationError, match="features"):
            catga.add_feature(CountingFeature())


async def test_features_of_catga_are_added_by_their_own_calls():
    catga = add_catga()
    catga.add_handlers(count)
    add_outbox(catga, OutboxOptions(poll_seconds=0.5))
    add_inbox(catga, InboxOptions(retention_seconds=60))
    add_idempotency(catga)
    add_dead_letters(catga)

    async with catga.running() as app:
        first = await app.mediator.send(Count(), message_id="c-1")
        again = await app.mediator.send(Count(), message_id="c-1")
        health = app.health()

    assert first == again == CatgaResult.success(1)
    assert health["idempotency"].details == {"repeated_commands": 1}
    assert {"outbox_monitor", "outbox_relay", "pruning", "inbox", "dead_letters"} <= set(health)


async def test_a_feature_added_again_takes_back_its_workers():
    catga = add_catga(CatgaOptions(enable_outbox=True))
    add_outbox(catga, OutboxOptions(relay=False))

    async with catga.running() as app:
        health = app.health()
        with pytest.raises(ConfigurationError):
            app.get(OutboxRelay)
        monitor = app.get(OutboxMonitor)

    assert "outbox_relay" not in health
    assert monitor is not None


class ParcelOptions(FeatureOptions, frozen=True, kw_only=True):
    limit: int = 3
    wait_seconds: float = 1.0


def test_options_of_a_feature_are_read_from_the_environment():
    environment = {"CATGA_SERVICE_NAME": "shop", "CATGA_PARCEL_LIMIT": "5"}

    assert ParcelOptions.from_env(environment) == ParcelOptions(limit=5)
    assert CatgaOptions.from_env(environment).service_name == "shop"


@pytest.mark.parametrize("variable", ["CATGA_PARCEL_LIMITS", "CATGA_PARCEL_"])
def test_an_unknown_variable_of_a_feature_is_refused(variable: str):
    with pytest.raises(ConfigurationError, match=variable):
        ParcelOptions.from_env({variable: "5"})
    with pytest.raises(ConfigurationError, match=variable):
        CatgaOptions.from_env({variable: "5"})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"limit": "three"}, "limit"),
        ({"wait_seconds": 0}, "wait_seconds"),
        ({"wait_seconds": float("nan")}, "wait_seconds"),
    ],
)
def test_options_of_a_feature_are_checked_where_they_are_given(values: dict[str, Any], named: str):
    with pytest.raises(ConfigurationError, match=rf"ParcelOptions\({named}="):
        ParcelOptions(**values)


@pytest.mark.parametrize("name", ["retention", "units_of_work"])
async def test_another_feature_does_not_replace_one_that_is_used(name: str):
    class Other(CountingFeature):
        pass

    Other.name = name
    catga = add_catga()
    with pytest.raises(ConfigurationError, match=f"{name}.*Other"):
        catga.add_feature(Other())
        add_outbox(catga)


async def test_a_feature_that_cannot_be_registered_leaves_the_container_as_it_was():
    class Broken(CountingFeature):
        name = "broken"

        def register(self, builder: Builder, /) -> None:
            super().register(builder)
            raise ValueError

    catga = add_catga()
    catga.add_handlers(count)
    with pytest.raises(ValueError):
        catga.add_feature(Broken())

    async with catga.running() as app:
        assert await app.mediator.send(Count()) == CatgaResult.success(1)
        assert "counting" not in app.health()


async def test_the_name_of_a_worker_that_was_taken_back_is_free():
    catga = add_catga(CatgaOptions(enable_outbox=True))
    add_outbox(catga, OutboxOptions(relay=False))

    catga.add_singleton(Counter, name="outbox_relay")

    async with catga.running() as app:
        assert isinstance(app.outbox_relay, Counter)


class Step(Event):
    number: int


class Ledger:
    def __init__(self) -> None:
        self.noted: list[tuple[int, str]] = []


class StepsFeature:
    """Calls handlers of the application's by itself, as a saga does."""

    name = "steps"

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def register(self, builder: Builder, /) -> None:
        builder.add_service(Ledger, Ledger, name="ledger")
        builder.add_consumer("step:first", "first", self.handler, self.handler, {"ledger": Ledger})

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        del graph
        return ()

    def health(self) -> Mapping[str, Health]:
        return {}


async def test_a_feature_calls_handlers_through_the_seam():
    async def step(message: Step, ledger: Ledger) -> None:
        ledger.noted.append((message.number, current_context().message_id))

    catga = add_catga()
    catga.add_feature(StepsFeature(step))
    catga.add_feature(CountingFeature())

    async with catga.running() as app:
        endpoint = app.get(Dispatcher).consumer_endpoint("step:first", message_type(Step))
        result = await endpoint.handle(Step(7), MessageContext("s-1", "s-1"))
        noted, counted = app.get(Ledger).noted, app.get(Counter).counted

    assert result == CatgaResult.success(None)
    assert (noted, counted) == ([(7, "s-1")], 1)
