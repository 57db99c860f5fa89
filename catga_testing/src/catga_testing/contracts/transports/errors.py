"""What travels of a failure, and what must not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaResult,
    ErrorCode,
    Failure,
    MessageContext,
    Success,
)
from catga_testing.contracts.kept import needs
from catga_testing.contracts.limits import SOON
from catga_testing.contracts.transports.base import TransportContractBase
from catga_testing.contracts.transports.handlers import Inbox
from catga_testing.contracts.transports.messages import Echo, Happened
from catga_testing.contracts.transports.peers import Peers


class ErrorsContract(TransportContractBase):
    """A failed result is a result: code, text, flag and details arrive, and nothing of the receiver's inside."""

    @pytest.mark.parametrize(
        ("code", "retryable"),
        [
            ("OUT_OF_STOCK", True),
            ("OUT_OF_STOCK", False),
            (ErrorCode.CONFLICT, False),
            (ErrorCode.CONFLICT, True),
        ],
    )
    async def test_a_failed_result_keeps_its_code_message_flag_and_details(
        self,
        peers: Peers,
        code: str,
        retryable: bool,
    ) -> None:
        """Also a code of the application's own, and a flag that is not the code's usual one."""
        details = {"sku": "a-1", "left": 0, "nested": {"where": ["north", None, 1.5]}}

        async def refuse(_message: Echo, _context: MessageContext) -> CatgaResult[str]:
            return Failure(CatgaError("the shelf is empty", code=code, retryable=retryable, details=details))

        await peers.add("shelves", requests={Echo: refuse})
        asking = await peers.add()

        error = (await asking.ask(Echo("a-1"))).error

        assert (error.code, error.message, error.retryable) == (str(code), "the shelf is empty", retryable)
        assert dict(error.details) == details

    @needs(remote=True)
    async def test_a_traceback_never_leaves_the_process(self, peers: Peers) -> None:
        """Neither the exception behind a failure nor where it was raised reaches the sender."""

        async def fail(_message: Echo, _context: MessageContext) -> CatgaResult[str]:
            error = CatgaError("it failed", details={"exception": "RuntimeError"})
            try:
                _raise_inside()
            except RuntimeError as cause:
                error.__cause__ = cause
            return Failure(error)

        await peers.add("failing", requests={Echo: fail})
        asking = await peers.add()

        error = (await asking.ask(Echo("x"))).error

        assert error.__cause__ is None
        assert error.__traceback__ is None
        told = f"{error.message} {dict(error.details)}"
        assert "the inside of the receiver" not in told
        assert "Traceback" not in told

    async def test_a_handler_that_cancels_itself_fails_alone(self, peers: Peers) -> None:
        """HANDLER_FAILED for a CancelledError that nobody asked for; the receiver goes on taking messages."""
        inbox = Inbox()

        async def cancel(message: Any, context: MessageContext) -> str:
            if getattr(message, "text", "") == "cancel" or getattr(message, "number", 0) < 0:
                raise asyncio.CancelledError
            return await inbox(message, context)

        await peers.add("own", requests={Echo: cancel}, events={Happened: cancel})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            cancelled = [await asking.ask(Echo("cancel")) for _ in range(3)]
        await asking.tell(Happened(-1))
        answered = await asking.ask(Echo("next"))
        await asking.tell(Happened(1))

        assert [result.error.code for result in cancelled] == [ErrorCode.HANDLER_FAILED] * 3
        assert answered == Success("next")
        await inbox.until(2)
        assert inbox.messages == [Echo("next"), Happened(1)]

    @pytest.mark.parametrize("waits", [True, False])
    async def test_handler_that_cancels_its_task_fails_alone(self, peers: Peers, waits: bool) -> None:
        """HANDLER_FAILED, not an error that says the receiver stops; the transport goes on."""
        inbox = Inbox()

        async def cancel(message: Any, context: MessageContext) -> str:
            if waits:
                await asyncio.sleep(0)
            if getattr(message, "text", "") == "cancel" or getattr(message, "number", 0) < 0:
                _running_task().cancel()
                await asyncio.sleep(30)
            return await inbox(message, context)

        await peers.add("own", requests={Echo: cancel}, events={Happened: cancel})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            several = await asyncio.gather(
                *(asking.ask(Echo(text)) for text in ("cancel", "first", "cancel", "second"))
            )
        for number in (-1, 1, -2, 2):
            await asking.tell(Happened(number))

        assert [result.error.code for result in several[::2]] == [ErrorCode.HANDLER_FAILED] * 2
        assert several[1::2] == [Success("first"), Success("second")]
        await inbox.until(4)
        assert {each.number for each in inbox.messages if isinstance(each, Happened)} == {1, 2}

    async def test_handler_that_cancels_its_task_and_returns_has_its_result(self, peers: Peers) -> None:
        """What it returned is its answer, and its cancellation reaches no other message."""

        async def cancel(message: Echo, _context: MessageContext) -> str:
            if message.text == "cancel":
                _running_task().cancel()
            else:
                await asyncio.sleep(0)
            return message.text

        await peers.add("own", requests={Echo: cancel})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            several = await asyncio.gather(
                *(asking.ask(Echo(text)) for text in ("cancel", "1", "cancel", "2"))
            )

        assert several == [Success(text) for text in ("cancel", "1", "cancel", "2")]

    async def test_handler_that_raises_a_base_exception_is_answered_at_once(self, peers: Peers) -> None:
        """HANDLER_FAILED or INTERNAL_ERROR, long before the deadline; the receiver goes on taking messages."""
        inbox = Inbox()

        async def halt(message: Any, context: MessageContext) -> str:
            if getattr(message, "text", "") == "halt" or getattr(message, "number", 0) < 0:
                raise _HaltError
            return await inbox(message, context)

        await peers.add("own", requests={Echo: halt}, events={Happened: halt})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            failed = [await asking.ask(Echo("halt")) for _ in range(3)]
        await asking.tell(Happened(-1))
        answered = await asking.ask(Echo("next"))
        await asking.tell(Happened(1))

        assert {result.error.code for result in failed} <= {
            ErrorCode.HANDLER_FAILED,
            ErrorCode.INTERNAL_ERROR,
        }
        assert answered == Success("next")
        await inbox.until(2)
        assert inbox.messages == [Echo("next"), Happened(1)]

    async def test_a_handler_that_awaits_what_was_cancelled_fails_alone(self, peers: Peers) -> None:
        """HANDLER_FAILED, as nobody cancelled the handler."""

        async def wait(message: Echo, _context: MessageContext) -> str:
            inner = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(inner.cancel)
            await inner
            return message.text

        await peers.add("own", requests={Echo: wait})
        asking = await peers.add()

        async with asyncio.timeout(SOON):
            result = await asking.ask(Echo("x"))

        assert result.error.code == ErrorCode.HANDLER_FAILED


class _HaltError(BaseException):
    """What a handler should not raise."""


def _running_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _raise_inside() -> None:
    raise RuntimeError("the inside of the receiver")
