"""Stops of a process, with messages in flight."""

from __future__ import annotations

import asyncio

from catga_testing.contracts.durable.base import Do, DurableContractBase, Happened, Seen, Start


class StoppingContract(DurableContractBase):
    """A stop loses nothing, and acknowledges nothing that was not done."""

    async def test_a_stop_finishes_what_is_handled(self, start: Start, seen: Seen) -> None:
        """And hands the rest to others."""
        process = await start("note")
        gate = seen.hold(("note", 1))
        await process.app.mediator.publish(Happened(1))
        await seen.until(lambda: ("note", 1) in seen.attempts)

        stopping = asyncio.create_task(process.stop())
        await asyncio.sleep(0)
        gate.set()
        await stopping

        assert seen.had == [("note", 1)]

    async def test_what_cannot_be_finished_is_given_back(self, start: Start, seen: Seen) -> None:
        """At once, not after its lease, and its attempt was not one that failed."""
        process = await start("do", shutdown_timeout=0.1)
        gate = seen.hold(("do", 1))
        await process.app.mediator.enqueue(Do(1))
        await seen.until(lambda: ("do", 1) in seen.attempts)

        await process.stop()
        gate.set()
        await start("do")

        await seen.until(lambda: seen.had == [("do", 1)])
