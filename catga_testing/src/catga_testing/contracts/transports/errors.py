"""What travels of a failure, and what must not."""

from __future__ import annotations

import pytest

from catga_core import CatgaError, CatgaResult, ErrorCode, Failure, MessageContext, TransportCapabilities
from catga_testing.contracts.transports.base import TransportContractBase, requires
from catga_testing.contracts.transports.messages import Echo
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

    async def test_a_traceback_never_leaves_the_process(
        self, peers: Peers, capabilities: TransportCapabilities
    ) -> None:
        """Neither the exception behind a failure nor where it was raised reaches the sender."""
        requires(capabilities, remote=True)

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


def _raise_inside() -> None:
    raise RuntimeError("the inside of the receiver")
