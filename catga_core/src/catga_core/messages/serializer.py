"""The port of turning messages into bytes and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Serializer(Protocol):
    """Turns values into bytes and back, by type.

    `encode` and the decoders raise `CatgaError` with code `SERIALIZATION_FAILED`, naming the type and the field,
    never the value.
    """

    @property
    def name(self) -> str:
        """The name peers agree on, such as `msgpack` or `json`."""
        ...

    def encode(self, value: object, /) -> bytes:
        """Return the bytes of a value."""
        ...

    def decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        """Return a function that makes a value of this type from bytes; ask once for each type and keep it."""
        ...
