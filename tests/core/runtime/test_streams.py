"""What transports build streams of: credit, the buffer of the one who asks, and the pump of the handler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from catga_core.errors import CatgaError
from catga_core.runtime.credit import Credit
from catga_core.runtime.item_buffer import END, ItemBuffer
from catga_core.runtime.stream_pump import StreamPump


def is_full(credit: Credit) -> bool:
    return credit.full


def test_credit_is_bounded_by_items():
    credit = Credit(2, 100)
    credit.spend(1)
    assert not is_full(credit)
    credit.spend(1)
    assert is_full(credit)
    assert credit.free(1)
    assert not is_full(credit)


def test_credit_is_bounded_by_bytes_and_lets_one_large_item_through():
    credit = Credit(10, 100)
    credit.spend(1_000)
    assert is_full(credit)
    assert credit.free(1)
    credit.spend(99)
    assert not is_full(credit)
    credit.spend(1)
    assert is_full(credit)
    credit.free(2)
    assert not is_full(credit)


def test_credit_that_was_freed_already_changes_nothing():
    credit = Credit(2, 100)
    credit.spend()
    credit.spend()
    assert credit.free(2)
    assert credit.free(1)
    assert (credit.sent, credit.consumed) == (2, 2)


def test_more_consumed_than_sent_is_told():
    credit = Credit(2, 100)
    credit.spend()
    assert not credit.free(2)
    assert credit.consumed == 0


async def test_sender_waits_until_there_is_credit():
    credit = Credit(2, 100)
    credit.spend()
    credit.spend()
    waiting = asyncio.create_task(credit.wait(None))
    await asyncio.sleep(0)
    assert not waiting.done()
    credit.free(1)
    await waiting
    with pytest.raises(TimeoutError):
        credit.spend()
        await credit.wait(0.01)


async def test_buffer_gives_items_before_the_failure():
    buffer: ItemBuffer[int] = ItemBuffer()
    buffer.put(1, 10)
    buffer.end(CatgaError("no more", code="DRY"))
    buffer.end(None)

    assert (len(buffer), buffer.size) == (1, 10)
    assert await buffer.take(None) == 1
    assert (buffer.consumed, buffer.consumed_size, buffer.size) == (1, 10, 0)
    with pytest.raises(CatgaError, match="no more"):
        await buffer.take(None)


async def test_buffer_wakes_the_one_who_waits():
    buffer: ItemBuffer[int] = ItemBuffer()
    taking = asyncio.create_task(buffer.take(5.0))
    await asyncio.sleep(0)
    buffer.put(1)
    assert await taking == 1
    taking = asyncio.create_task(buffer.take(None))
    await asyncio.sleep(0)
    buffer.end()
    assert await taking is END
    assert await buffer.take(0.01) is END


async def test_buffer_without_items_in_time_is_a_timeout():
    with pytest.raises(TimeoutError):
        await ItemBuffer[int]().take(0.01)


class Handler:
    """A handler's stream that a test watches."""

    def __init__(self, *, waits: bool = False, stubborn: bool = False) -> None:
        self.waits = waits
        self.stubborn = stubborn
        self.began = asyncio.Event()
        self.ended = ""
        self.cancelling = -1

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(1, 4):
                self.began.set()
                if self.waits:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        if not self.stubborn:
                            raise
                yield number
            self.ended = "finished"
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        finally:
            task = asyncio.current_task()
            assert task is not None
            self.cancelling = task.cancelling()
            await asyncio.sleep(0)


class Sender:
    """Where items go; it waits at the one that a test names."""

    def __init__(self, *, waits_at: int = 0, fails_at: int = 0) -> None:
        self.sent: list[int] = []
        self.waiting = asyncio.Event()
        self._waits_at = waits_at
        self._fails_at = fails_at

    async def __call__(self, item: int) -> None:
        if item == self._waits_at:
            self.waiting.set()
            await asyncio.Event().wait()
        if item == self._fails_at:
            raise CatgaError("not sent", code="NOT_SENT")
        self.sent.append(item)


async def test_pump_sends_every_item():
    handler, sender = Handler(), Sender()
    await StreamPump(sender).run(handler.items())
    assert (sender.sent, handler.ended) == ([1, 2, 3], "finished")


async def test_reader_that_leaves_closes_a_generator_that_waits_at_its_yield():
    handler, sender = Handler(), Sender(waits_at=2)
    pump = StreamPump(sender)
    running = asyncio.create_task(pump.run(handler.items()))
    await sender.waiting.wait()

    pump.leave()
    pump.cancel()
    await running

    # As in one process: the handler was not cancelled.
    assert (handler.ended, handler.cancelling) == ("GeneratorExit", 0)
    assert running.cancelling() == 0


async def test_reader_that_is_cancelled_cancels_a_generator_that_waits_at_its_yield():
    handler, sender = Handler(), Sender(waits_at=2)
    pump = StreamPump(sender)
    running = asyncio.create_task(pump.run(handler.items()))
    await sender.waiting.wait()

    pump.cancel()
    await running

    assert (handler.ended, handler.cancelling) == ("CancelledError", 1)
    assert running.cancelling() == 0


@pytest.mark.parametrize("how", ["leave", "cancel"])
async def test_generator_that_is_at_work_is_cancelled(how: str):
    handler, sender = Handler(waits=True), Sender()
    pump = StreamPump(sender)
    running = asyncio.create_task(pump.run(handler.items()))
    await handler.began.wait()
    await asyncio.sleep(0)

    getattr(pump, how)()
    await running

    assert (handler.ended, sender.sent, pump.stopped) == ("CancelledError", [], True)


async def test_generator_that_swallows_its_cancellation_is_closed_at_its_next_yield():
    handler, sender = Handler(waits=True, stubborn=True), Sender()
    pump = StreamPump(sender)
    running = asyncio.create_task(pump.run(handler.items()))
    await handler.began.wait()
    await asyncio.sleep(0)

    pump.cancel()
    await running

    assert (handler.ended, sender.sent) == ("GeneratorExit", [])


async def test_stream_that_was_stopped_before_it_began_is_closed():
    handler, sender = Handler(), Sender()
    pump = StreamPump(sender)
    pump.cancel()
    await pump.run(handler.items())
    assert (sender.sent, handler.ended) == ([], "")


async def test_item_that_cannot_be_sent_fails_the_generator_too():
    handler = Handler()
    with pytest.raises(CatgaError, match="not sent"):
        await StreamPump(Sender(fails_at=2)).run(handler.items())
    assert handler.ended == "CatgaError"


async def test_cancellation_by_another_passes_through():
    handler, sender = Handler(), Sender(waits_at=2)
    running = asyncio.create_task(StreamPump(sender).run(handler.items()))
    await sender.waiting.wait()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert handler.ended == "CancelledError"
