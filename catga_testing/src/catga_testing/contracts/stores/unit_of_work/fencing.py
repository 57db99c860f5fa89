"""A block that has lost what it relied on before it is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from catga_core import CatgaError, ErrorCode
from catga_core.interfaces import (
    CheckpointStore,
    Claimed,
    Completed,
    EventLog,
    IdempotencyStore,
    LeasedMessage,
    OutboxStore,
    Stores,
)
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import PATIENCE
from catga_testing.contracts.stores.base import StoresContractBase, both
from catga_testing.contracts.stores.place import StoreTime, outside
from catga_testing.contracts.stores.records import appends, message

LOST = {str(ErrorCode.CONFLICT), str(ErrorCode.LOCKED)}


class FencingContract(StoresContractBase):
    """It commits before the other, or not at all: the writes of both never land."""

    @needs(IdempotencyStore, EventLog)
    async def test_of_a_block_that_completes_a_claim_and_who_takes_it_over_one_wins(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """The block's other writes go with its result."""
        one, other = both(pair, IdempotencyStore)
        log, _ = both(pair, EventLog)
        claim = await one.claim("charge-1", lease=time.lease)
        assert isinstance(claim, Claimed)
        await time.passes(1.1)

        async def work() -> None:
            await log.append([appends("charged")])
            await one.complete(claim, b"charged", ttl=3600.0)

        committed, taken = await _against(pair[0], work, lambda: other.claim("charge-1", lease=time.ample))

        if committed:
            assert taken == Completed("charge-1", b"charged")
        else:
            assert isinstance(taken, Claimed)
        assert await log.version("charged") == int(committed)

    @needs(CheckpointStore, EventLog)
    async def test_of_a_block_and_a_later_consumer_one_has_the_checkpoint(
        self, pair: tuple[Stores, Stores]
    ) -> None:
        """Whoever has the higher number has it in the end, and no effect of a block without its checkpoint."""
        one, other = both(pair, CheckpointStore)
        log, _ = both(pair, EventLog)
        await one.save("totals", 1, fencing_token=1)

        async def work() -> None:
            await log.append([appends("effects")])
            await one.save("totals", 2, fencing_token=1)

        committed, _ = await _against(pair[0], work, lambda: other.save("totals", 7, fencing_token=2))

        found = await one.load("totals")
        assert found is not None
        assert (found.position, found.fencing_token) == (7, 2)
        assert await log.version("effects") == int(committed)

    @needs(OutboxStore, EventLog)
    async def test_of_a_block_that_discards_a_message_and_who_takes_it_over_one_has_it(
        self, pair: tuple[Stores, Stores], time: StoreTime
    ) -> None:
        """It is out, or it is the other's and the block has written nothing."""
        one, other = both(pair, OutboxStore)
        log, _ = both(pair, EventLog)
        await one.add([message()])
        [leased] = await one.lease(limit=1, lease=time.lease)
        await time.passes(1.1)
        discarded: list[bool] = []

        async def work() -> None:
            await log.append([appends("buried")])
            discarded.append(await one.discard(leased))

        async def take() -> list[LeasedMessage]:
            found: list[LeasedMessage] = await other.lease(limit=1, lease=time.ample)
            return found

        committed, taken = await _against(pair[0], work, take)

        assert len(taken) == (await other.stats()).pending == int(not committed)
        assert discarded == [True]
        assert await log.version("buried") == int(committed)


async def _against(
    stores: Stores, work: Callable[[], Awaitable[None]], rival: Callable[[], Awaitable[Any]]
) -> tuple[bool, Any]:
    """Have a block work, and another act between its work and its commit; tell whether it committed."""
    acting: asyncio.Task[Any] | None = None
    try:
        async with stores.storage.unit_of_work():
            await work()
            acting = asyncio.create_task(outside(rival))
            # It may be made to wait for the unit of work: then it comes after it.
            await asyncio.wait({acting}, timeout=0.05)
    except CatgaError as error:
        assert error.code in LOST, error
        committed = False
    else:
        committed = True
    assert acting is not None
    async with asyncio.timeout(PATIENCE):
        return committed, await acting
