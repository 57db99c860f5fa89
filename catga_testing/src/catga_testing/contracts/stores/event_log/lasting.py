"""Callers that are cancelled, and stores that are stopped and opened again."""

from __future__ import annotations

import asyncio

from catga_core.interfaces import NO_STREAM, EventLog, Stores
from catga_testing.contracts.kept import needs
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything, ids
from catga_testing.contracts.stores.place import Place, turns
from catga_testing.contracts.stores.records import appends, records


class LastingContract(EventLogContractBase):
    """An append happened whole or not at all, and stays."""

    async def test_a_cancelled_append_happened_whole_or_not_at_all(self, log: EventLog) -> None:
        """Whenever the cancellation comes; trying again tells which, and the log works on."""
        for number in range(24):
            head = await log.head()
            given = [
                appends(f"orders-{number}", *records(2), expected=NO_STREAM),
                appends(f"stock-{number}", *records(2)),
            ]
            appending = asyncio.create_task(log.append(given))
            if number < 12:
                await turns(number)
            else:
                await asyncio.sleep(0.0003 * (number - 12))
            appending.cancel()
            await asyncio.wait({appending})

            # In one read: it may be on its way still.
            there = [each.stream_id for each in await log.read_all(after=head, limit=100)]
            assert there in ([], [f"orders-{number}"] * 2 + [f"stock-{number}"] * 2)
            assert there or appending.cancelled()
            await log.append(given)
            assert await ids(log, f"orders-{number}") == [each.message_id for each in given[0].records]
            assert await log.version(f"stock-{number}") == 2

        assert len(await everything(log)) == 24 * 4

    async def test_a_cancelled_caller_leaves_those_beside_it_alone(self, log: EventLog) -> None:
        """However they are gathered on their way."""
        for number in range(8):
            appending = [
                asyncio.create_task(log.append([appends(f"orders-{number}-{each}")])) for each in range(6)
            ]
            await turns(number)
            appending[number % 6].cancel()

            outcomes = await asyncio.gather(*appending, return_exceptions=True)

            for each, outcome in enumerate(outcomes):
                assert isinstance(outcome, list) or each == number % 6, outcome
                if isinstance(outcome, list):
                    assert await log.version(f"orders-{number}-{each}") == 1

    @needs(durable=True)
    async def test_what_was_acknowledged_is_there_after_a_restart(self, place: Place, stores: Stores) -> None:
        """With its versions and positions, and later ones come after it."""
        log = stores[EventLog]
        given = appends("orders-1", *records(3), expected=NO_STREAM)
        first = await log.append([given])
        await log.append([appends("orders-2", *records(2))])
        before = await everything(log)

        log = (await place.reopen(stores))[EventLog]

        assert await everything(log) == before
        assert await log.version("orders-1") == 3
        assert await log.head() == before[-1].position
        assert await log.append([given]) == first
        [later] = await log.append([appends("orders-1", expected=3)])
        assert later.version == 4
        assert later.position > before[-1].position
