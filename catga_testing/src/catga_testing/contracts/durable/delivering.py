"""Events that are kept until every handler has handled them."""

from __future__ import annotations

from catga_core.interfaces import DeadLetterSource
from catga_testing.contracts.durable.base import (
    DurableContractBase,
    Happened,
    Seen,
    Start,
    Told,
    letters,
    refused,
)


class DeliveringContract(DurableContractBase):
    """At least once to each handler, whatever fails."""

    async def test_an_event_is_handled_by_every_handler(self, start: Start, seen: Seen) -> None:
        """Once by each; the publisher does not wait for them."""
        gate = seen.hold(("note", 1))
        process = await start("note", "count")

        await process.app.mediator.publish(Happened(1))

        assert ("note", 1) not in seen.had
        gate.set()
        await seen.until(lambda: len(seen.had) == 2)
        assert sorted(seen.had) == [("count", 1), ("note", 1)]

    async def test_a_failed_handler_is_retried_alone(self, start: Start, seen: Seen) -> None:
        """The one that succeeded is not called again."""
        seen.fail(("note", 1), RuntimeError("once"), RuntimeError("twice"))
        process = await start("note", "count")

        await process.app.mediator.publish(Happened(1))

        await seen.until(lambda: len(seen.had) == 2)
        assert seen.attempts.count(("note", 1)) == 3
        assert seen.attempts.count(("count", 1)) == 1

    async def test_the_last_attempt_ends_in_the_dead_letters(self, start: Start, seen: Seen) -> None:
        """With everything that is known, and not again after that."""
        seen.fail(("note", 1), *(RuntimeError(f"number {each}") for each in range(9)))
        process = await start("note")

        await process.app.mediator.publish(Happened(1), message_id="event-1", headers={"tenant": "a"})

        [letter] = await letters(process, 1)
        assert seen.attempts == [("note", 1)] * 3
        assert letter.source is DeadLetterSource.QUEUE
        assert (letter.handler, letter.name, letter.code) == (
            "note",
            "kit.durable.Happened",
            "HANDLER_FAILED",
        )
        assert (letter.attempts, letter.context.message_id) == (3, "event-1")
        assert letter.context.headers["tenant"] == "a"
        assert letter.traceback is not None
        assert "number 2" in letter.traceback

    async def test_an_error_that_is_not_retryable_ends_at_once(self, start: Start, seen: Seen) -> None:
        """After one attempt."""
        seen.fail(("note", 1), refused())
        process = await start("note")

        await process.app.mediator.publish(Happened(1))

        [letter] = await letters(process, 1)
        assert (letter.code, letter.attempts, len(seen.attempts)) == ("REFUSED", 1, 1)

    async def test_replicas_share_the_events(self, start: Start, seen: Seen) -> None:
        """Each is handled by one of them."""
        processes = [await start("note") for _ in range(3)]

        for number in range(60):
            await processes[number % 3].app.mediator.publish(Happened(number))

        await seen.until(lambda: len(seen.had) >= 60)
        assert sorted(seen.had) == [("note", number) for number in range(60)]

    async def test_a_repeated_id_is_handled_once(self, start: Start, seen: Seen) -> None:
        """Published again while it waits, and after it was handled."""
        process = await start("note")

        for _ in range(2):
            await process.app.mediator.publish(Happened(1), message_id="same")
        await seen.until(lambda: len(seen.had) == 1)
        await process.app.mediator.publish(Happened(1), message_id="same")
        await process.app.mediator.publish(Happened(2))

        await seen.until(lambda: ("note", 2) in seen.had)
        assert seen.had == [("note", 1), ("note", 2)]

    async def test_what_waits_is_handled_by_a_process_that_starts_later(
        self, start: Start, seen: Seen
    ) -> None:
        """The publisher has the handlers, but does no work."""
        publisher = await start("note", "count", roles={"serve"})
        for number in range(5):
            await publisher.app.mediator.publish(Happened(number))
        assert seen.attempts == []

        await start("note", "count")

        await seen.until(lambda: len(seen.had) == 10)

    async def test_an_event_that_is_not_durable_is_not_kept(self, start: Start, seen: Seen) -> None:
        """Its failing handler is called once."""
        seen.fail(("told", 1), RuntimeError("once"))
        process = await start("listen", "note")

        await process.app.mediator.publish(Told(1))

        await process.app.mediator.publish(Happened(2))
        await seen.until(lambda: ("note", 2) in seen.had)
        assert seen.attempts.count(("told", 1)) == 1
