"""Processes without the role `work`: they know the consumers, and do not run them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from catga_core import CatgaApp, CatgaContainer, CatgaError, ConfigurationError, EventStore
from catga_core.errors import ErrorCode
from catga_core.event_sourcing.projections import (
    Projection,
    ProjectionMode,
    add_projection,
    current_projection,
    project,
)
from catga_core.event_sourcing.subscriptions import add_subscription
from catga_core.interfaces import HealthStatus
from tests.core.event_sourcing.consuming import Deposited, Table, container_at, deposit, document, fast
from tests.stores import Place


class Sum(Projection, name="sum"):
    def __init__(self, table: Table) -> None:
        self.table = table

    async def reset(self) -> None:
        await self.table.drop(current_projection().target)

    @project
    async def deposited(self, event: Deposited) -> None:
        await self.table.add(current_projection().target, event.account, event.amount)


async def listen(event: Deposited) -> None: ...


def composed(
    place: Place, mode: ProjectionMode = ProjectionMode.CATCH_UP, partitions: int = 1
) -> CatgaContainer:
    catga = container_at(place)
    add_projection(catga, Sum, mode=mode, **fast())
    add_subscription(catga, "listener", listen, partitions=partitions, **fast())
    return catga


def directories(app: CatgaApp) -> list[tuple[Any, str]]:
    return [(app.projections, "sum"), (app.subscriptions, "listener")]


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("mode", [ProjectionMode.CATCH_UP, ProjectionMode.LIVE])
async def test_resume_without_the_role_work_is_refused(
    memory: Place, mode: ProjectionMode, partitions: int
) -> None:
    async with composed(memory, mode, partitions).running(roles={"admin"}) as app:
        for directory, name in directories(app):
            with pytest.raises(CatgaError, match=f"{name}.*role 'work'") as caught:
                directory.resume(name)
            assert caught.value.code == ErrorCode.VALIDATION_FAILED


async def test_health_without_the_role_work_reports_no_positions(memory: Place) -> None:
    async with composed(memory).running(roles={"admin"}) as app:
        await deposit(app, "a")
        for directory, name in directories(app):
            await directory.replay_parked(name)
            health = directory.health(name)
            assert health.status is HealthStatus.HEALTHY
            assert health.details["state"] == "not run here"
            assert {"position", "head", "lag", "parked"}.isdisjoint(health.details)


async def test_resume_and_health_work_where_the_consumers_run(memory: Place) -> None:
    async with composed(memory).running() as app:
        position = await deposit(app, "a")
        for directory, name in directories(app):
            await directory.caught_up(name)
            directory.resume(name)
            assert directory.health(name).details["position"] == position


async def test_wait_for_a_rebuilt_projection_that_runs_elsewhere_returns(place: Place) -> None:
    async with composed(place).running() as worker:
        await deposit(worker, "a")
        await worker.projections.rebuild("sum", wait=10)
        async with composed(place).running(roles={"admin"}) as app:
            await deposit(app, "a")
            await app.projections.caught_up("sum")
            assert await document(app, await app.projections.target("sum")) == {"a": 2}


async def test_wait_for_an_inline_projection_that_was_not_built_times_out(memory: Place) -> None:
    async with composed(memory, ProjectionMode.INLINE).running(roles={"admin"}) as app:
        position = await deposit(app, "a")
        with pytest.raises(CatgaError) as caught:
            await app.projections.wait_for("sum", position, timeout=0.05)
        assert caught.value.code == ErrorCode.TIMEOUT
        assert await document(app, await app.projections.target("sum")) == {}


async def test_wait_for_an_inline_projection_returns_when_it_is_built(memory: Place) -> None:
    async with composed(memory, ProjectionMode.INLINE).running(roles={"admin"}) as app:
        position = await deposit(app, "a")
        waiting = asyncio.create_task(app.projections.wait_for("sum", position))
        async with composed(memory, ProjectionMode.INLINE).running(roles={"work"}):
            await waiting
            assert await document(app, await app.projections.target("sum")) == {"a": 1}


def plain_store() -> EventStore:
    """Return an event store that calls no append hooks."""
    return cast("EventStore", object())


@pytest.mark.parametrize("role", ["admin", "serve", "work"])
async def test_inline_projection_is_refused_in_every_role(memory: Place, role: Any) -> None:
    catga = composed(memory, ProjectionMode.INLINE)
    catga.add_singleton(EventStore, plain_store)
    with pytest.raises(ConfigurationError, match="does not call append hooks"):
        async with catga.running(roles={role}):
            pass
