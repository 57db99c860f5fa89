"""Many who append and read at once, in one process and in two."""

from __future__ import annotations

import asyncio

from catga_core import ConcurrencyError
from catga_core.interfaces import NO_STREAM, AppendResult, EventLog, Stores
from catga_testing.contracts.stores.event_log.base import EventLogContractBase, everything, ids, stream
from catga_testing.contracts.stores.place import outside
from catga_testing.contracts.stores.records import appends, guards, record, records

MANY = 16
"""How many at once."""


class LogConcurrencyContract(EventLogContractBase):
    """Of all with the same expectation one wins; what succeeded is there once."""

    async def test_of_many_with_the_same_expectation_exactly_one_wins(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """And the others are told both versions."""
        await logs[0].append([appends("orders-1", *records(2))])
        given = [appends("orders-1", *records(2), expected=2) for _ in range(MANY)]

        outcomes = await asyncio.gather(
            *(logs[number % 2].append([each]) for number, each in enumerate(given)), return_exceptions=True
        )

        won = [each for each, outcome in zip(given, outcomes, strict=True) if isinstance(outcome, list)]
        lost = [each for each in outcomes if isinstance(each, ConcurrencyError)]
        assert (len(won), len(lost)) == (1, MANY - 1), outcomes
        assert {(each.stream_id, each.expected, each.actual) for each in lost} == {("orders-1", 2, 4)}
        assert (await ids(logs[1], "orders-1"))[2:] == [each.message_id for each in won[0].records]

    async def test_everybody_with_any_gets_a_place(self, logs: tuple[EventLog, EventLog]) -> None:
        """Versions without gaps, positions that rise with them, events of one append side by side."""
        given = [records(1 + number % 3) for number in range(MANY)]

        results = await asyncio.gather(
            *(logs[number % 2].append([appends("orders-1", *each)]) for number, each in enumerate(given))
        )

        stored = await stream(logs[0], "orders-1")
        assert [each.version for each in stored] == list(range(1, sum(map(len, given)) + 1))
        assert [each.position for each in stored] == sorted({each.position for each in stored})
        for [result], appended in zip(results, given, strict=True):
            assert [
                each.record for each in stored[result.version - len(appended) : result.version]
            ] == appended
            assert stored[result.version - 1].position == result.position

    async def test_an_append_repeated_at_the_same_time_is_stored_once(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """And everyone gets the same answer."""
        given = appends("orders-1", *records(2), expected=NO_STREAM)

        results = await asyncio.gather(*(logs[number % 2].append([given]) for number in range(MANY)))

        assert {tuple(each) for each in results} == {tuple(results[0])}
        assert await ids(logs[0], "orders-1") == [each.message_id for each in given.records]

    async def test_one_that_is_refused_does_not_reach_the_others(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """However they are gathered on their way."""
        await logs[0].append([appends("taken")])

        async def attempt(number: int) -> list[AppendResult]:
            log = logs[number % 2]
            if number % 3 == 0:
                return await log.append(
                    [appends(f"free-{number}"), appends("taken", record(), expected=NO_STREAM)]
                )
            return await log.append([appends(f"free-{number}", *records(2), expected=NO_STREAM)])

        outcomes = await asyncio.gather(*(attempt(number) for number in range(MANY)), return_exceptions=True)

        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, ConcurrencyError if number % 3 == 0 else list), outcome
            assert await logs[0].version(f"free-{number}") == (0 if number % 3 == 0 else 2)
        assert await logs[0].version("taken") == 1

    async def test_nothing_gets_past_a_guard_that_is_written_to_at_the_same_time(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """What was appended under a guard stands before the event that moved it."""
        for turn in range(MANY):
            rules, orders = f"rules-{turn}", f"orders-{turn}"
            calls = [
                logs[number % 2].append([guards(rules, NO_STREAM), appends(orders)]) for number in range(MANY)
            ]
            calls.insert(turn, logs[turn % 2].append([appends(rules, expected=NO_STREAM)]))

            outcomes = await asyncio.gather(*calls, return_exceptions=True)

            [moved] = await stream(logs[0], rules)
            under_it = await stream(logs[0], orders)
            assert all(each.position < moved.position for each in under_it)
            refused = [each for each in outcomes if isinstance(each, ConcurrencyError)]
            assert len(under_it) + len(refused) == MANY, outcomes

    async def test_a_guard_holds_until_the_unit_of_work_is_committed(
        self, logs: tuple[EventLog, EventLog], pair: tuple[Stores, Stores]
    ) -> None:
        """Whoever writes to it meanwhile comes after the unit, or makes it fail."""
        await logs[0].append([appends("rules")])
        committed = True

        async def move() -> None:
            await logs[1].append([appends("rules", expected=1)])

        moving: asyncio.Task[None] | None = None
        try:
            async with pair[0].storage.unit_of_work():
                await logs[0].append([guards("rules", 1), appends("orders-1")])
                moving = asyncio.create_task(outside(move))
                await asyncio.wait([moving], timeout=0.2)
        except ConcurrencyError as refused:
            committed = False
            assert (refused.stream_id, refused.expected, refused.actual) == ("rules", 1, 2)
        assert moving is not None
        await moving

        orders, rules = await stream(logs[0], "orders-1"), await stream(logs[0], "rules")
        assert len(orders) == committed
        assert all(each.position < rules[-1].position for each in orders)

    async def test_several_events_are_seen_together_or_not_at_all(
        self, logs: tuple[EventLog, EventLog]
    ) -> None:
        """By whoever reads meanwhile: a stream, or all of them."""
        writer, reader = logs
        done = False

        async def write() -> None:
            nonlocal done
            for _ in range(20):
                await writer.append([appends("orders-1", *records(3)), appends("stock-1", *records(3))])
                await asyncio.sleep(0)  # a storage may answer without giving anybody else a turn
            done = True

        async def read() -> int:
            looks = 0
            while not done:
                looks += 1
                assert len(await stream(reader, "orders-1")) % 3 == 0
                assert len(await reader.read_all(after=0, limit=10_000)) % 6 == 0
                await asyncio.sleep(0)
            return looks

        _, looks = await asyncio.gather(write(), read())

        assert looks >= 1
        assert len(await everything(reader)) == 120
