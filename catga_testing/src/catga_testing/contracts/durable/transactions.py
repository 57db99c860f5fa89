"""What is published and enqueued in a unit of work."""

from __future__ import annotations

import pytest

from catga_testing.contracts.durable.base import Do, DurableContractBase, Happened, Seen, Start
from catga_testing.contracts.kept import needs


class TransactionsContract(DurableContractBase):
    """It is kept by the commit, or not at all."""

    @needs(transactional=True)
    async def test_a_commit_keeps_what_was_published_and_enqueued(self, start: Start, seen: Seen) -> None:
        """And not before."""
        process = await start("note", "do")

        async with process.catga.unit_of_work():
            await process.app.mediator.publish(Happened(1))
            await process.app.mediator.enqueue(Do(2))
            assert seen.attempts == []

        await seen.until(lambda: len(seen.had) == 2)

    @needs(transactional=True)
    async def test_a_roll_back_keeps_nothing(self, start: Start, seen: Seen) -> None:
        """Neither the event nor the command."""
        process = await start("note", "do")

        with pytest.raises(ZeroDivisionError):
            async with process.catga.unit_of_work():
                await process.app.mediator.publish(Happened(1))
                await process.app.mediator.enqueue(Do(2))
                raise ZeroDivisionError
        await process.app.mediator.publish(Happened(3))

        await seen.until(lambda: ("note", 3) in seen.had)
        assert seen.had == [("note", 3)]
