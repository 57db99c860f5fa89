"""One connection to the hub: writes frames, hands on what arrives, and gives each answer to the one who waits."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from catga_core import CatgaError, ErrorCode

from .frames import Answer, Ask, Frame, Leave, Listen, Lost, Nobody, Tell, pack, read_frame

Reply = bytes | CatgaError


def failed(text: str, outcome: str, code: str = ErrorCode.TRANSPORT_FAILED) -> CatgaError:
    """Return an error that says whether a handler may have run: not_sent, not_started or unknown."""
    return CatgaError(text, code=code, details={"outcome": outcome})


class Wire:
    """A connection.

    Args:
        reader: Where frames come from.
        writer: Where they go.
        deliver: Takes each request and event; it does not wait.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        deliver: Callable[[Wire, Ask | Tell], None],
    ) -> None:
        self._writer = writer
        self._deliver = deliver
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._told: dict[Frame, asyncio.Future[None]] = {}
        self.lost = False
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))

    def send(self, frame: Frame) -> None:
        """Put a frame into the socket's buffer; a connection that is gone swallows it."""
        if not self._writer.is_closing():
            self._writer.write(pack(frame))

    async def tell_hub(self, frame: Listen | Leave) -> None:
        """Send a frame and return when the hub has sent it back.

        Raises:
            CatgaError: When the connection is lost.
        """
        if self.lost:
            raise failed("the connection to the hub is lost", "not_sent")
        told = self._told[frame] = asyncio.get_running_loop().create_future()
        self.send(frame)
        await told

    async def ask(self, subject: str, body: bytes, seconds: float) -> Reply:
        """Return the answer's bytes, or why there are none."""
        if self.lost:
            text = "the connection to the hub is lost: start the hub and then this process again"
            return failed(text, "not_sent")
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self.send(Ask(number, subject, body))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            text = f"{subject} was not answered in time; whether it took effect is unknown"
            return failed(text, "unknown", ErrorCode.TIMEOUT)
        finally:
            # An answer that comes later finds nobody and is dropped.
            del self._waiting[number]

    def fail_all(self, error: CatgaError) -> None:
        """Answer everyone who waits with an error."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(error)

    async def close(self) -> None:
        """Send what is in the buffer and close."""
        if not self._writer.is_closing():
            try:
                await self._writer.drain()
            except OSError:
                self.lost = True
        self._writer.close()
        await asyncio.wait({self._reading})

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while (frame := await read_frame(reader)) is not None:
            match frame:
                case Ask() | Tell():
                    self._deliver(self, frame)
                case Answer(number, body):
                    self._answer(number, body)
                case Nobody(number):
                    text = (
                        "nobody handles it: start a service that registers a handler with add_handlers(...)"
                    )
                    self._answer(number, failed(text, "not_started", ErrorCode.HANDLER_NOT_FOUND))
                case Lost(number):
                    text = "the process that handled it is gone; how far it came is unknown"
                    self._answer(number, failed(text, "unknown"))
                case Listen() | Leave():
                    self._told.pop(frame).set_result(None)
        self.lost = True
        self.fail_all(
            failed("the connection to the hub was lost; whether it took effect is unknown", "unknown")
        )
        for told in self._told.values():
            told.set_exception(failed("the connection to the hub was lost", "unknown"))

    def _answer(self, number: int, reply: Reply) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(reply)
