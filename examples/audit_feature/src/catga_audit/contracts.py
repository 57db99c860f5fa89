"""The contract kit of the port `AuditStore`: whoever writes an audit store derives a test class from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from catga_core.interfaces import Stores
from catga_testing.contracts import Place, Prepare, StoresContractBase, Write, needs

from .entries import AuditEntry, AuditFilter, AuditOutcome, AuditStore


def entry(entry_id: str, **changes: Any) -> AuditEntry:
    """Return an entry for a test."""
    values: dict[str, Any] = {
        "recorded_at": 1_000.0,
        "kind": "command",
        "message": "PlaceOrder",
        "handler": "PlaceOrderHandler",
        "message_id": f"m-{entry_id}",
        "correlation_id": "c-1",
        "actor": "ada",
        "outcome": AuditOutcome.SUCCEEDED,
        "code": None,
    }
    return AuditEntry(entry_id, **{**values, **changes})


async def _add(stores: Stores) -> Write:
    store = stores[AuditStore]

    async def there(seen: Stores) -> bool:
        return [each.id for each in await seen[AuditStore].find()] == ["e-1"]

    return Write(lambda: store.add([entry("e-1")]), there)


class AuditContract(StoresContractBase):
    """The tests an `AuditStore` has to pass."""

    ports: ClassVar[tuple[Any, ...]] = (AuditStore,)
    # What the kits of units of work try: that it joins one, and is undone with it.
    writes: ClassVar[Mapping[str, Prepare]] = {"audit.add": _add}

    @pytest.fixture
    def audit(self, stores: Stores) -> AuditStore:
        """Return the store."""
        return stores[AuditStore]

    async def test_entries_come_back_as_they_were_added(self, audit: AuditStore) -> None:
        """Every field, the last one first."""
        given = [
            entry("e-1"),
            entry("e-2", actor=None, outcome=AuditOutcome.FAILED, code="CONFLICT"),
            entry("e-3", actor="Ärö \U0001f4b6 'x' \"y\"", recorded_at=0.125, outcome=AuditOutcome.CANCELLED),
        ]

        await audit.add(given)

        assert await audit.find() == given[::-1]

    async def test_entry_added_twice_is_stored_once(self, audit: AuditStore) -> None:
        """A batch with an unknown outcome can be repeated."""
        await audit.add([entry("e-1")])

        await audit.add([entry("e-1"), entry("e-2")])

        assert [each.id for each in await audit.find()] == ["e-2", "e-1"]

    @pytest.mark.parametrize(
        "changes",
        [
            {"message": "CancelOrder"},
            {"correlation_id": "c-2"},
            {"actor": "grace"},
            {"outcome": AuditOutcome.FAILED},
        ],
    )
    async def test_filter_finds_the_entries_that_match(
        self, audit: AuditStore, changes: dict[str, Any]
    ) -> None:
        """And no others."""
        await audit.add([entry("e-1"), entry("e-2", **changes), entry("e-3", actor=None)])

        assert [each.id for each in await audit.find(AuditFilter(**changes))] == ["e-2"]

    async def test_limit_keeps_the_last_entries(self, audit: AuditStore) -> None:
        """Whatever the batches were."""
        await audit.add([entry("e-1"), entry("e-2")])
        await audit.add([entry("e-3")])

        assert [each.id for each in await audit.find(limit=2)] == ["e-3", "e-2"]

    async def test_pruning_removes_old_entries_in_portions(self, audit: AuditStore) -> None:
        """The oldest first, and none that is not older."""
        await audit.add([entry(f"e-{number}", recorded_at=float(number)) for number in (3, 1, 2, 4)])

        assert await audit.prune(before=4.0, limit=2) == 2
        assert sorted([each.id for each in await audit.find()]) == ["e-3", "e-4"]
        assert await audit.prune(before=4.0) == 1
        assert await audit.prune(before=4.0) == 0
        assert [each.id for each in await audit.find()] == ["e-4"]

    async def test_concurrent_batches_are_all_stored(self, pair: tuple[Stores, Stores]) -> None:
        """Each entry once, whoever adds it."""
        one, other = (each[AuditStore] for each in pair)

        await asyncio.gather(
            *(store.add([entry(f"e-{number}")]) for number in range(10) for store in (one, other))
        )

        assert sorted(each.id for each in await one.find()) == sorted(f"e-{number}" for number in range(10))

    async def test_no_entries_are_nothing(self, audit: AuditStore) -> None:
        """An empty batch is not an error."""
        await audit.add([])

        assert await audit.find() == []

    @needs(immediate=True)
    async def test_unit_of_work_sees_its_own_entries(self, stores: Stores) -> None:
        """Before its commit."""
        audit = stores[AuditStore]
        await audit.add([entry("e-1")])

        async with stores.storage.unit_of_work():
            await audit.add([entry("e-2")])
            assert [each.id for each in await audit.find()] == ["e-2", "e-1"]

    @needs(durable=True)
    async def test_entries_are_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """All that was acknowledged."""
        await stores[AuditStore].add([entry("e-1")])

        again = await place.reopen(stores)

        assert await again[AuditStore].find() == [entry("e-1")]
