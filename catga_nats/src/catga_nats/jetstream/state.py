"""`Bucket`: a few facts that the processes of a prefix share, in a key-value bucket."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from catga_core.errors import CatgaError, Outcome, PersistenceError, TransportError
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import (
    API_SECONDS,
    MESSAGE_NOT_FOUND,
    WRONG_LAST_SEQUENCE,
    ApiError,
    NoJetStreamError,
    ask,
    call,
    checked,
)
from catga_nats.subscription import Subscription

_MOST = 1000  # keys of one listing; the server answers with 1,024 at most
_SUBJECTS = 100_000  # subjects that the server lists at once
_END = ("204", "404")
_TOO_MANY = "413"
_REMOVED = b"removed"  # instead of a value
_REMOVED_SECONDS = 3600


class Entry(NamedTuple):
    """The value of a key.

    Args:
        value: The value.
        revision: Rises with every change in the bucket.
    """

    value: bytes
    revision: int


class Bucket:
    """Reads and writes keys of one bucket.

    Args:
        connection: The connection.
        name: The bucket.
    """

    def __init__(self, connection: NatsConnection, name: str) -> None:
        self._connection = connection
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._inbox = b"_INBOX.%b." % secrets.token_hex(12).encode()
        self._listings: dict[bytes, tuple[dict[str, Entry], asyncio.Future[str]]] = {}
        self._number = 0
        self.subscription: Subscription = Subscription(self._inbox.decode() + "*", "", self._deliver)

    async def get(self, key: str) -> Entry | None:
        """Return the value of a key, `None` for none or a removed one; as the stream's leader knows it.

        Raises:
            CatgaError: It cannot be read.
        """
        try:
            found = await call(
                self._connection, f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._prefix + key}
            )
        except ApiError as error:
            if error.number == MESSAGE_NOT_FOUND:
                return None
            raise failed(error) from error
        except NoJetStreamError as error:
            raise unanswered() from error
        message = found["message"]
        entry = Entry(base64.b64decode(message.get("data", "")), message["seq"])
        return None if entry.value == _REMOVED else entry

    async def put(
        self, key: str, value: bytes, *, ttl: int | None = None, last: int | None = None
    ) -> int | None:
        """Write a key and return its revision.

        Args:
            key: The key.
            value: The value.
            ttl: Whole seconds after which it is gone; `None` keeps it.
            last: The revision it must have, `0` for none; `None` for any.

        Returns:
            The revision; `None` where it has another one than `last`.

        Raises:
            CatgaError: It is not known to be written.
        """
        headers: dict[str, str] = {}
        if ttl is not None:
            headers["Nats-TTL"] = f"{ttl}s"
        if last is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(last)
        answer = await ask(self._connection, (self._prefix + key).encode(), value, headers or None)
        data = answer[0] if isinstance(answer, tuple) else answer
        if not isinstance(data, bytes) or not data:
            raise unanswered()
        try:
            revision: int = checked(data)["seq"]
        except ApiError as error:
            if error.number == WRONG_LAST_SEQUENCE and last is not None:
                return None
            raise failed(error) from error
        return revision

    async def remove(self, key: str, *, seconds: int = _REMOVED_SECONDS) -> None:
        """Remove a key, so that it stays removed when the server is killed.

        Of a key that was deleted, a server that is killed has the value before the last one again. So it is overwritten, and deleted
        later.

        Args:
            key: The key.
            seconds: Whole seconds after which it is deleted: no less than the time to live of its value.

        Raises:
            CatgaError: It is not known to be removed.
        """
        await self.put(key, _REMOVED, ttl=seconds)

    async def names(self, pattern: str) -> set[str]:
        """Return the keys that match a pattern, as the stream's leader knows them; removed ones may be among them.

        Raises:
            CatgaError: They cannot be read.
        """
        found: set[str] = set()
        while True:
            body = {"subjects_filter": self._prefix + pattern, "offset": len(found)}
            try:
                info = await call(self._connection, f"STREAM.INFO.{self._stream}", body)
            except ApiError as error:
                raise failed(error) from error
            except NoJetStreamError as error:
                raise unanswered() from error
            some: dict[str, int] = info["state"].get("subjects") or {}
            found |= {each.removeprefix(self._prefix) for each in some}
            if len(some) < _SUBJECTS:
                return found

    async def list(self, patterns: Sequence[str]) -> dict[str, Entry]:
        """Return the keys that match patterns such as `member.*`, with their values.

        Raises:
            CatgaError: They cannot be read.
        """
        found: dict[str, Entry] = {}
        for start in range(0, len(patterns), _MOST):
            some = patterns[start : start + _MOST]
            if (listed := await self._list(some)) is None:
                keys = sorted({key for each in some for key in await self.names(each)})
                # One may be gone by then, which is no key to list.
                listed = await self.list(keys)
            found.update(listed)
        return found

    async def _list(self, patterns: Sequence[str]) -> dict[str, Entry] | None:
        """Return what matches some patterns, `None` where it is more than the server lists at once."""
        self._number += 1
        inbox = b"%b%d" % (self._inbox, self._number)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        found: dict[str, Entry] = {}
        self._listings[inbox] = found, future
        try:
            client = await self._connection.ready(0, API_SECONDS)
            body = msgspec.json.encode({"multi_last": [self._prefix + each for each in patterns]})
            client.send(f"$JS.API.DIRECT.GET.{self._stream}".encode(), inbox, body, None)
            await asyncio.wait([future], timeout=API_SECONDS)
        finally:
            del self._listings[inbox]
        if not future.done():
            raise unanswered()
        if future.result() == _TOO_MANY:
            return None
        if future.result() not in _END:
            text = f"the bucket {self._stream} cannot be read: status {future.result()}. Try again."
            raise PersistenceError(text)
        return found

    def _deliver(self, subject: bytes, _: bytes, data: bytes, headers: Mapping[str, str] | None) -> None:
        listing = self._listings.get(subject)
        if listing is None or headers is None:
            return
        found, future = listing
        status = headers.get("Status")
        if status is not None:
            if not future.done():
                future.set_result(status)
            return
        if data == _REMOVED:
            return
        key = headers.get("Nats-Subject", "").removeprefix(self._prefix)
        found[key] = Entry(data, int(headers.get("Nats-Sequence", "0")))


def failed(error: ApiError) -> CatgaError:
    """Return the error for a request that JetStream refuses."""
    text = (
        f"JetStream refuses: {error.text} ({error.number}). Check the stream and the account's permissions."
    )
    return PersistenceError(text, details={"jetstream_error": error.number})


def unanswered() -> CatgaError:
    """Return the error for a request without a response."""
    return TransportError("JetStream does not answer: check the stream's leader", outcome=Outcome.UNKNOWN)
