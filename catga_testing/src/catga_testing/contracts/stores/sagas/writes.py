"""The writes of sagas that join a unit of work, for the contract of units of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from catga_core.interfaces import SagaPause, SagaState, SagaStore, Stores
from catga_testing.contracts.stores.sagas.base import AMPLE, begun, paused, saga, signal
from catga_testing.contracts.stores.unit_of_work.writes import Prepare, Write


async def _begin(stores: Stores) -> Write:
    async def there(seen: Stores) -> bool:
        return await seen[SagaStore].get("kit:begun") is not None

    return Write(lambda: stores[SagaStore].begin(saga("kit:begun"), lease=AMPLE), there)


async def _append(stores: Stores) -> Write:
    sagas = stores[SagaStore]
    claim = await begun(sagas, "kit:appended")

    async def there(seen: Stores) -> bool:
        found = await seen[SagaStore].read("kit:appended")
        assert found is not None
        assert found.record.entries == len(found.entries)
        assert bool(found.entries) is (found.record.state is SagaState.COMPENSATING)
        return bool(found.entries)

    return Write(lambda: sagas.append(claim, [b"1", b"2"], after=0, state=SagaState.COMPENSATING), there)


async def _release(stores: Stores) -> Write:
    sagas = stores[SagaStore]
    claim = await begun(sagas, "kit:released")

    async def there(seen: Stores) -> bool:
        found = await seen[SagaStore].read("kit:released")
        assert found is not None
        assert bool(found.entries) is (found.record.state is SagaState.COMPLETED) is not found.record.leased
        return bool(found.entries)

    return Write(lambda: sagas.release(claim, [b"1"], after=0, pause=SagaPause(SagaState.COMPLETED)), there)


async def _rewrite(stores: Stores) -> Write:
    sagas = stores[SagaStore]
    claim = await begun(sagas, "kit:rewritten")
    await sagas.append(claim, [b"1", b"2"], after=0)

    async def there(seen: Stores) -> bool:
        found = await seen[SagaStore].read("kit:rewritten")
        assert found is not None
        assert (len(found.entries) == 1) is (found.record.saga.version == 2)
        return len(found.entries) == 1

    return Write(
        lambda: sagas.rewrite(claim, [b"new"], version=2, data=b"new", state=SagaState.RUNNING), there
    )


async def _cancel(stores: Stores) -> Write:
    sagas = stores[SagaStore]
    await paused(sagas, "kit:cancelled", 4e9)

    async def there(seen: Stores) -> bool:
        found = await seen[SagaStore].get("kit:cancelled")
        assert found is not None
        assert found.cancelling is (found.due_at != 4e9)
        return found.cancelling

    return Write(lambda: sagas.cancel("kit:cancelled"), there)


async def _signal(stores: Stores) -> Write:
    sagas = stores[SagaStore]

    async def there(seen: Stores) -> bool:
        return bool(await seen[SagaStore].signals("kit:signalled"))

    return Write(lambda: sagas.signal(signal("m-1", "kit:signalled")), there)


SAGA_WRITES: Final[Mapping[str, Prepare]] = {
    "sagas.begin": _begin,
    "sagas.append": _append,
    "sagas.release": _release,
    "sagas.rewrite": _rewrite,
    "sagas.cancel": _cancel,
    "sagas.signal": _signal,
}
"""Each kind of write, by name."""
