"""Which deliveries of a message were attempts: the server counts all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from catga_core.errors import CatgaError
from catga_nats.jetstream.received import JetMessage
from catga_nats.jetstream.state import Bucket

_KEPT_SECONDS = 7 * 86_400


class _Known(msgspec.Struct, array_like=True):
    """At a delivery, how many attempts were made before it was given back.

    Args:
        delivery: The number of the delivery.
        attempts: How many attempts were made.
    """

    delivery: int
    attempts: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Known).decode


class Attempts:
    """Remembers messages that were given back without an attempt; others are counted by the server alone.

    Args:
        bucket: Where it is kept.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def number(self, messages: Sequence[JetMessage]) -> bool:
        """Set the attempt of each message; return whether the server had to be asked.

        Raises:
            CatgaError: It cannot be read.
        """
        again = [each for each in messages if each.count > 1]
        if again:
            await asyncio.gather(*(self._number(each) for each in again))
        return bool(again)

    async def uncount(self, messages: Sequence[JetMessage]) -> None:
        """Remember that this delivery of messages was no attempt; where that fails, it is one."""
        if messages:
            with suppress(CatgaError):
                await self.number([each for each in messages if not each.given])
                await asyncio.gather(*(self._uncount(each) for each in messages))

    async def _number(self, message: JetMessage) -> None:
        found = await self._bucket.get(_key(message))
        if found is None:
            message.attempt = message.count
            return
        with suppress(msgspec.MsgspecError):
            known = _decode(found.value)
            message.attempt = known.attempts + message.count - known.delivery

    async def _uncount(self, message: JetMessage) -> None:
        value = _encode(_Known(message.count, message.attempt - 1))
        await self._bucket.put(_key(message), value, ttl=_KEPT_SECONDS)


def _key(message: JetMessage) -> str:
    return f"attempt.{message.source.consumer.name}.{message.sequence}"
