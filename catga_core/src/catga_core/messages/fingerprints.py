"""Fingerprints: whether two messages of one id have equal content.

An id identifies a repetition only for equal content. Bytes do not tell that: a set has another order in another process, and
during a rolling deploy one class has a field that the other has not yet. A fingerprint is made of a canonical form instead:
fields by name, without those that have their default.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec

from catga_core.codecs.foreign import encode_foreign
from catga_core.messages.types import MessageType

DIGEST_BYTES: Final = 16
# Sets and dictionaries in one order, in every process.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_LEAVES: Final = frozenset({str, int, bool, bytes, type(None)})
_NO_VALUE: Final = object()

_Field: TypeAlias = tuple[str, str, Any, Callable[[], Any] | None]
"""Attribute, encoded name, default, default factory."""


def content_digest(message: object, fallback: Callable[[object], bytes] | None = None) -> bytes:
    """Return a digest of a value's content.

    It is equal for equal content in every process, also where another version of the class has more fields that have their
    default.

    Args:
        message: The value.
        fallback: Encodes a value that msgspec cannot, such as one of an application's own types.

    Returns:
        16 bytes; empty where the content cannot be encoded.
    """
    try:
        content = canonical(message)
        try:
            data = _encode(content)
        except TypeError:
            if fallback is None:
                return b""

            # A foreign type somewhere. A registered one is the same whatever the container's serializer is.
            def encode(value: Any) -> Any:
                try:
                    return encode_foreign(value)
                except TypeError:
                    return fallback(value)

            encoder = msgspec.msgpack.Encoder(order="deterministic", enc_hook=encode)
            data = encoder.encode(content)
    except Exception:  # noqa: BLE001 - a foreign class's own code may raise anything
        return b""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def fingerprint(described: MessageType, message: object, fallback: Callable[[object], bytes] | None) -> str:
    """Return the fingerprint of a message: its name, its version and a digest of its content.

    Args:
        described: The message's type.
        message: The message.
        fallback: Encodes what msgspec cannot: the container's serializer.

    Returns:
        A short text, to be compared with `same_content`.
    """
    return f"{described.name}@{described.version}#{content_digest(message, fallback).hex()}"


def same_content(stored: str, given: str) -> bool:
    """Return whether two fingerprints of one id are of the same message.

    Versions of a message have different shapes, so that only the names of two versions are compared: the same message,
    upcast by one process and not by the other, is the usual case.

    Args:
        stored: The fingerprint that was recorded; empty for an unknown one.
        given: The other.

    Returns:
        `False` for different names, and for different content of one version. Unknown content counts as the same.
    """
    if stored == given or not stored or not given:
        return True
    name, version, digest = _parts(stored)
    other_name, other_version, other_digest = _parts(given)
    return name == other_name and (version != other_version or not digest or not other_digest)


def _parts(text: str) -> tuple[str, str, str]:
    shape, _, digest = text.rpartition("#")
    name, _, version = shape.rpartition("@")
    return name, version, digest


def canonical(value: Any) -> Any:  # noqa: PLR0911, RUF100 - one line for each kind of value
    """Return the canonical form of a value: fields by name, without those that have their default.

    Args:
        value: Anything that a message may hold.
    """
    cls: Any = value.__class__
    if cls in _LEAVES:
        return value
    if cls is float:
        # A declared float may be given as an int, and comes back from bytes as a float.
        return int(value) if value.is_integer() else value
    fields = _fields_of(cls)
    if fields is not None:
        tag, known = fields
        content = {
            name: canonical(found)
            for attribute, name, default, factory in known
            if not is_default(found := getattr(value, attribute, _NO_VALUE), default, factory)
        }
        return content if tag is None else [tag, content]
    if issubclass(cls, Mapping):
        return {key: canonical(each) for key, each in value.items()}
    if issubclass(cls, AbstractSet):
        return sorted((canonical(each) for each in value), key=_encode)
    if issubclass(cls, Sequence) and not issubclass(cls, str | bytes | bytearray | memoryview):
        return [canonical(each) for each in value]
    dump: Any = getattr(value, "model_dump", None)
    # Pydantic's own models, without importing pydantic.
    return value if dump is None else canonical(dump(exclude_defaults=True))


def is_default(found: Any, default: Any, factory: Callable[[], Any] | None) -> bool:
    """Return whether a field has its default, or no value at all.

    Args:
        found: The field's value.
        default: The declared default, `msgspec.NODEFAULT` for none.
        factory: Makes the default, `None` for none.
    """
    if found is _NO_VALUE or found is msgspec.UNSET:
        return True
    if default is msgspec.NODEFAULT:
        if factory is None:
            return False
        default = factory()
    # A bool equals a number.
    return found is default or bool(
        found == default and (found.__class__ is bool) is (default.__class__ is bool)
    )


@functools.lru_cache(maxsize=4096)
def _fields_of(cls: type[Any]) -> tuple[object, tuple[_Field, ...]] | None:
    """Return the tag and the fields of a class that has declared ones, `None` for any other."""
    if issubclass(cls, msgspec.Struct):
        fields = tuple(
            (each.name, each.encode_name, each.default, _factory(each.default_factory))
            for each in msgspec.structs.fields(cls)
        )
        return cls.__struct_config__.tag, fields
    if dataclasses.is_dataclass(cls):
        return None, tuple(
            (
                each.name,
                each.name,
                msgspec.NODEFAULT if each.default is dataclasses.MISSING else each.default,
                None if each.default_factory is dataclasses.MISSING else each.default_factory,
            )
            for each in dataclasses.fields(cls)
        )
    names: tuple[str, ...] = getattr(cls, "_fields", ())
    defaults: Mapping[str, Any] | None = getattr(cls, "_field_defaults", None)
    if issubclass(cls, tuple) and defaults is not None:
        return None, tuple((name, name, defaults.get(name, msgspec.NODEFAULT), None) for name in names)
    return None


def _factory(found: Any) -> Callable[[], Any] | None:
    return None if found is msgspec.NODEFAULT else found
