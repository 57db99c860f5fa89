"""`StreamFrames`: what travels while a stream is open, as bytes and back (docs/wire-format.md)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.messages import MessageType
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.body_errors import fault_in
from catga_core.messages.refusals import Refusal, last_resort, refusal_of
from catga_core.messages.serializers import (
    MsgspecSerializer,
    msgpack_serializer,
    shown_type,
    unserializable,
)

B = TypeVar("B")


class Kind(IntEnum):
    """What a frame from the responder is."""

    ITEM = 0
    END = 1
    FAILED = 2
    ALIVE = 3


class Wish(IntEnum):
    """What a frame from the asker is for."""

    GO_ON = 0
    LEFT = 1
    CANCELLED = 2


class Frame(msgspec.Struct, Generic[B], array_like=True, frozen=True, gc=False):
    """A frame from the responder.

    Args:
        number: Of an item, from 1; of any other frame, the number that the next item has or would have had.
        kind: See `Kind`.
        value: The item, the array of a failure, or nil.
    """

    number: int
    kind: int
    value: B


class Control(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A frame from the asker.

    Args:
        consumed: How many items it has consumed so far.
        wish: See `Wish`.
    """

    consumed: int
    wish: int


# Parameterised at run time, which no type checker follows.
_FRAME: Any = Frame
_VALUE: Final = f"$[{len(Frame.__struct_fields__) - 1}]"


class StreamFrames:
    """Encodes and decodes the frames of streams.

    With a built-in serializer the items lie in the frames as they are; any other serializer's bytes lie in msgpack frames.

    Args:
        bodies: Checks and encodes the items.
    """

    __slots__ = ("_bodies", "_control", "_embedded", "_failed", "_items", "_outer", "_peek")

    def __init__(self, bodies: BodyCodec) -> None:
        serializer = bodies.serializer
        self._bodies = bodies
        self._embedded = isinstance(serializer, MsgspecSerializer)
        self._outer = serializer if isinstance(serializer, MsgspecSerializer) else msgpack_serializer()
        self._items: dict[Any, Callable[[bytes], Any]] = {}
        self._peek = self._outer.decoder(_FRAME[msgspec.Raw])
        self._failed = self._outer.decoder(_FRAME[Refusal])
        self._control = self._outer.decoder(Control)

    def encode_item(self, message_type: MessageType, number: int, item: object) -> bytes:
        """Return the bytes of an item.

        Args:
            message_type: The stream query's type.
            number: The item's number.
            item: The item.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` for an item that would not arrive as it is.
        """
        self._bodies.check_value(message_type.result, item, f"an item of {message_type.cls.__name__}")
        try:
            value = item if self._embedded else self._bodies.serializer.encode(item)
            return self._outer.plain((number, 0, value))
        except CatgaError:
            raise
        except Exception as error:
            raise unserializable(item, error) from error

    def encode_end(self, number: int, error: CatgaError | None) -> bytes:
        """Return the bytes of a stream's end; there always are some.

        Args:
            number: The number that the next item would have had.
            error: What the stream failed with, `None` for a stream that is complete.
        """
        if error is None:
            return self._outer.encode((number, Kind.END.value, None))
        try:
            return self._outer.encode((number, Kind.FAILED.value, refusal_of(error, self._outer.encode)))
        except CatgaError:
            return self._outer.encode((number, Kind.FAILED.value, last_resort(error)))

    def encode_alive(self, number: int) -> bytes:
        """Return the bytes of a frame that says that the responder is there.

        Args:
            number: The number that the next item will have.
        """
        return self._outer.encode((number, Kind.ALIVE.value, None))

    def encode_control(self, consumed: int, wish: Wish) -> bytes:
        """Return the bytes of a frame from the asker.

        Args:
            consumed: How many items it has consumed.
            wish: What it is for.
        """
        return self._outer.encode((consumed, wish.value))

    def decode(self, type_: Any, data: bytes) -> Frame[Any]:
        """Return a frame from the responder; the value of a failure is its `CatgaError`.

        Args:
            type_: The type of the items.
            data: As received.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` for bytes that are no frame, and for an item of another type.
        """
        decode = self._items.get(type_)
        if decode is None:
            made = self._outer.plain_decoder(_FRAME[type_ if self._embedded else bytes])
            decode = self._items[type_] = made
        try:
            frame: Frame[Any] = decode(data)
            if frame.kind == Kind.ITEM:
                if self._embedded:
                    return frame
                return Frame(frame.number, frame.kind, self._bodies.serializer.decoder(type_)(frame.value))
            wrong: Exception | None = None
        except Exception as error:  # noqa: BLE001  # a serializer of the application's may raise anything
            wrong = error
        return self._other(type_, data, wrong)

    def decode_control(self, data: bytes) -> Control:
        """Return a frame from the asker.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` for bytes that are none.
        """
        control: Control = self._control(data)
        if control.consumed < 0 or not 0 <= control.wish <= Wish.CANCELLED:
            text = "a control frame of a stream holds a number that is not known here: upgrade this process"
            raise SerializationError(text)
        return control

    def _other(self, type_: Any, data: bytes, wrong: Exception | None) -> Frame[Any]:
        try:
            peeked: Frame[Any] = self._peek(data)
        except CatgaError as error:
            text = f"a frame of the stream cannot be read: {fault_in(error)}; do both sides use the same serializer?"
            raise SerializationError(text) from error
        if peeked.kind == Kind.ITEM and wrong is not None:
            text = f"an item of the stream is not a valid {shown_type(type_)}: {fault_in(wrong, _VALUE)}"
            raise SerializationError(text) from wrong
        if peeked.kind == Kind.FAILED:
            try:
                refusal: Refusal = self._failed(data).value
            except CatgaError as error:
                text = f"the failure of the stream cannot be read: {fault_in(error)}"
                raise SerializationError(text) from error
            failed = CatgaError(
                refusal.message, code=refusal.code, retryable=refusal.retryable, details=refusal.details
            )
            return Frame(peeked.number, peeked.kind, failed)
        if peeked.kind in {Kind.END, Kind.ALIVE}:
            return Frame(peeked.number, peeked.kind, None)
        text = f"a frame of kind {peeked.kind} arrived in the stream, which is not known here: upgrade this process"
        raise SerializationError(text)
