from __future__ import annotations

from catga_core.event_sourcing.projections import (
    Projection,
    Projections,
    add_projection,
    current_projection,
    project,
)
from tests.core.event_sourcing.consuming import (
    Deposited,
    Opened,
    Table,
    Unasked,
    container_at,
    deposit,
    document,
    fast,
)
from tests.stores import Place


class Balances(Projection, name="balances"):
    def __init__(self, table: Table) -> None:
        self.table = table

    @project
    async def opened(self, event: Opened) -> None:
        await self.table.add(current_projection().target, event.account, 0)

    @project
    async def deposited(self, event: Deposited) -> None:
        await self.table.add(current_projection().target, event.account, event.amount)

    async def reset(self) -> None:
        await self.table.put(current_projection().target, {})

    async def remove(self) -> None:
        await self.table.drop(current_projection().target)


async def test_what_was_appended_is_projected(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        await app.event_store.append("account-a", [Opened("a"), Deposited("a", 3), Unasked(1)])
        await deposit(app, "b", 5)
        await app.get(Projections).caught_up("balances")

        assert await document(app, "balances_1") == {"a": 3, "b": 5}


async def test_it_goes_on_where_it_was(place: Place) -> None:
    for total in (5, 10):
        catga = container_at(place)
        add_projection(catga, Balances, **fast())
        async with catga.running() as app:
            await deposit(app, "a", 5)
            await app.get(Projections).caught_up("balances")
            assert await document(app, "balances_1") == {"a": total}


async def test_rebuild(place: Place) -> None:
    catga = container_at(place)
    add_projection(catga, Balances, **fast())
    async with catga.running() as app:
        await deposit(app, "a", 5)
        projections = app.get(Projections)
        await projections.caught_up("balances")
        assert await projections.rebuild("balances", wait=5) == "balances_1_1"
        await deposit(app, "a", 5)
        await projections.caught_up("balances")
        assert await projections.target("balances") == "balances_1_1"
        assert await document(app, "balances_1_1") == {"a": 10}
        assert await document(app, "balances_1") == {}
