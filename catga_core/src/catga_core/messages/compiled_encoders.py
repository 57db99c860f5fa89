"""Encoders and fingerprints of message classes, each compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from catga_core.messages.compiled_fingerprints import fingerprinter
from catga_core.messages.exact import exact_encoder
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.messages.types import message_type

Compiled: TypeAlias = tuple[Callable[[Any], bytes], Callable[[object], str]]
"""Encodes the messages of a class, and fingerprints what was encoded."""


class CompiledEncoders(dict[type[Any], Compiled]):
    """What encodes and fingerprints the messages of each class; compiled when a class is first asked for.

    Args:
        serializer: The container's serializer.
        registry: Learns the classes, so that what is stored can be decoded.

    Raises:
        SerializationError: On the first look-up of a class of which no message can be decoded.
    """

    __slots__ = ("_registry", "_serializer")

    def __init__(self, serializer: Serializer, registry: MessageRegistry) -> None:
        super().__init__()
        self._serializer = serializer
        self._registry = registry

    def __missing__(self, cls: type[Any]) -> Compiled:
        serializer = self._serializer
        compiled = exact_encoder(serializer, cls), fingerprinter(message_type(cls), serializer.encode)
        self._registry.use(cls)
        self[cls] = compiled
        return compiled
