"""Tells the server what becomes of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from catga_core.errors import CatgaError, LeaseLostError
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import ask
from catga_nats.jetstream.attempts import Attempts
from catga_nats.jetstream.background import Background
from catga_nats.jetstream.reader import SAFE, Reader
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.source import Source
from catga_nats.jetstream.state import unanswered

_ACK = b"+ACK"
_END = b"+TERM"
_AGAIN = b"-NAK"
_WORKING = b"+WPI"
_CONFIRM_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 1.0


class Settling:
    """Acknowledges, gives back and keeps messages.

    Args:
        connection: The connection.
        reader_of: Returns the reader of a queue.
        attempts: Remembers how many deliveries were no attempts.
        background: Runs background tasks.
    """

    def __init__(
        self,
        connection: NatsConnection,
        reader_of: Callable[[str], Reader],
        attempts: Attempts,
        background: Background,
    ) -> None:
        self._background = background
        self._connection = connection
        self._reader_of = reader_of
        self._attempts = attempts
        self._timers: dict[JetMessage, asyncio.TimerHandle] = {}

    def expect(self, message: JetMessage) -> Reader:
        """Return the reader of a message that is surely this process's.

        Raises:
            LeaseLostError: Another process may have it.
        """
        reader = self._reader_of(message.queue)
        if not reader.is_known(message):
            self._lost(message, reader)
            reason = "its lease ran out, and another process may have it"
            raise LeaseLostError(f"the message {message.message.context.message_id!r}", reason)
        return reader

    async def complete(self, message: JetMessage) -> None:
        """Acknowledge a message.

        One with a key is acknowledged before the next of its key is handed out, so that it is not delivered again after it.

        Raises:
            LeaseLostError: Another process may have it.
            CatgaError: It is not known to be acknowledged.
        """
        reader = self.expect(message)
        if reader.definition.confirms or message.source.ordered:
            await self._confirmed(message, reader, _ACK)
            return
        client = self._connection.client
        if client is None or not client.takes_more:
            try:
                client = await self._connection.ready(0, _CONFIRM_SECONDS)
            except CatgaError:
                message.unsettled = True
                raise
        client.send(message.reply, b"", _ACK, None)
        reader.settled(message)

    async def discard(self, message: JetMessage) -> bool:
        """End a message; return `False` where another process may have it."""
        try:
            reader = self.expect(message)
        except LeaseLostError:
            return False
        await self._confirmed(message, reader, _END)
        return True

    def retry(self, message: JetMessage, delay: float) -> None:
        """Have a message delivered again."""
        try:
            reader = self.expect(message)
        except LeaseLostError:
            return
        if not message.source.ordered:
            self._send(message, b'-NAK {"delay":%d}' % max(0, int(delay * 1e9)))
            reader.given_back(message)
            return
        if message.source not in reader.sources:
            # Its group is being left: the next owner takes it at once, before newer ones of its key.
            self.give_back(message)
            return
        # It waits here and keeps its lease: should this process die, others wait for no more than the lease.
        message.given = False
        loop = asyncio.get_running_loop()
        self._timers[message] = loop.call_later(max(0.0, delay), self._due, message, reader)

    async def release(self, messages: Sequence[JetMessage]) -> None:
        """Give messages back; their deliveries count as no attempts."""
        mine: list[JetMessage] = []
        for message in messages:
            with suppress(LeaseLostError):
                self.expect(message)
                mine.append(message)
        self.withdraw(mine)
        await self.give_withdrawn(mine)

    def withdraw(self, messages: Sequence[JetMessage]) -> None:
        """Take messages out, so that none of them is handed out or settled from here on."""
        for message in messages:
            self._reader_of(message.queue).given_back(message)

    async def give_withdrawn(self, messages: Sequence[JetMessage]) -> None:
        """Give withdrawn messages back; their deliveries count as no attempts."""
        await self._attempts.uncount(messages)
        now = asyncio.get_running_loop().time()
        for message in messages:
            # One whose lease has run out meanwhile is delivered again anyway, and that delivery is not to be given back.
            if now <= message.expires_at:
                self._send(message, _AGAIN)

    def give_back(self, message: JetMessage) -> None:
        """Give a message back at once."""
        self._send(message, _AGAIN)
        self._reader_of(message.queue).given_back(message)

    def extend(self, messages: Sequence[JetMessage]) -> list[JetMessage]:
        """Keep messages for another lease; return those that are still this process's."""
        kept: list[JetMessage] = []
        client = self._connection.client
        connected = client is not None and client.takes_more
        now = asyncio.get_running_loop().time()
        for message in messages:
            reader = self._reader_of(message.queue)
            if not reader.is_known(message):
                self._lost(message, reader)
                continue
            kept.append(message)
            if connected and client is not None:
                client.send(message.reply, b"", _WORKING, None)
                message.expires_at = now + SAFE * reader.definition.lease
        return kept

    def stop(self) -> list[JetMessage]:
        """Stop the timers; return the messages that waited for another attempt."""
        waiting = list(self._timers)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        return waiting

    def waits(self, message: JetMessage) -> bool:
        """Return whether a message waits here for another attempt."""
        return message in self._timers

    def end_waiting(self, source: Source) -> None:
        """Have the messages of a source delivered again that wait for another attempt."""
        for message in [each for each in self._timers if each.source is source]:
            self._timers[message].cancel()
            self._due(message, self._reader_of(message.queue))

    def drop(self, message: JetMessage) -> None:
        """Forget the timer of a message that is no longer this process's."""
        timer = self._timers.pop(message, None)
        if timer is not None:
            timer.cancel()

    def acknowledge_again(self, message: JetMessage) -> None:
        """Acknowledge a message whose first acknowledgement was lost."""
        self._send(message, _ACK)

    def _lost(self, message: JetMessage, reader: Reader) -> None:
        # One with a key comes again to the owner of its key, or is forgotten with its group.
        if message.given and not message.source.ordered:
            reader.given_back(message)

    def _due(self, message: JetMessage, reader: Reader) -> None:
        self._timers.pop(message, None)
        if reader.is_known(message):
            self.give_back(message)
        else:
            reader.given_back(message)

    async def _confirmed(self, message: JetMessage, reader: Reader, word: bytes) -> None:
        message.confirming = True
        try:
            await self._ask(message, word)
        except CatgaError:
            # It may be acknowledged. Until that is known, no later one of its key is handed out.
            self._background.start(self._ask_again(message, reader, word))
            raise
        reader.settled(message)

    async def _ask(self, message: JetMessage, word: bytes) -> None:
        answer = await ask(self._connection, message.reply, word, timeout=_CONFIRM_SECONDS)
        if type(answer) is not bytes:
            # No responders: the consumer has no leader now, and does not know of the acknowledgement.
            raise unanswered()

    async def _ask_again(self, message: JetMessage, reader: Reader, word: bytes) -> None:
        # Should it be delivered again meanwhile, it is settled by its new delivery.
        while reader.holds(message):
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
            with suppress(CatgaError):
                await self._ask(message, word)
                reader.settled(message)
                return

    def _send(self, message: JetMessage, word: bytes) -> None:
        client = self._connection.client
        if client is not None and client.takes_more:
            client.send(message.reply, b"", word, None)
