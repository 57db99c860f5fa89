"""The built-in serializers: msgpack and JSON, both by msgspec."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from catga_core.codecs.annotations import readable, unresolved
from catga_core.codecs.checks import Check, Steps, compiled
from catga_core.codecs.findings import TypeProblem
from catga_core.codecs.serializing import JSON, MSGPACK, decoder_of, encoder_of
from catga_core.codecs.types import problems_of
from catga_core.errors import CatgaError, SerializationError
from catga_core.messages.serializer import Serializer


class MsgspecSerializer:
    """Encodes and decodes by msgspec, strictly by type.

    Args:
        name: The name peers agree on.
        encode: Msgspec's encoding function of the format.
        decoder: Makes a decoding function of the format for a type.
        known: Whether the two are those of the built-in formats, so that what is read back is known from a value; the bytes
            of any other are decoded again and compared.
    """

    __slots__ = ("_decoder", "_decoders", "known", "name", "plain")

    def __init__(
        self,
        name: str,
        encode: Callable[[object], bytes],
        decoder: Callable[[Any], Callable[[bytes | memoryview], Any]],
        *,
        known: bool = False,
    ) -> None:
        self.name: str = name
        self.known: bool = known
        # Without the errors of `encode`.
        self.plain: Callable[[object], bytes] = encode
        self._decoder = decoder
        self._decoders: dict[Any, Callable[[bytes | memoryview], Any]] = {}

    def encode(self, value: object, /) -> bytes:
        """Return the bytes of a value.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, naming the value's type.
        """
        try:
            return self.plain(value)
        except Exception as cause:  # also what a property of the value's own class raises
            raise unserializable(value, cause) from cause

    def checked(self, check: Check, refuse: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """Return `encode` with a check of the value, compiled into one function.

        Args:
            check: What a value has to pass.
            refuse: Called with any other value, and with one whose check or encoding has raised; it raises.
        """
        steps = check.steps or Steps(("if not good(v): {fail}",), {"good": check.good})
        # A loop that runs once: a value that is not good leaves it.
        lines = ["try:", "    while True:"]
        lines += [f"        {line.replace('{fail}', 'break')}" for line in steps.lines]
        lines += ["        return encode(v)", "except Exception:", "    pass", "return refuse(v)"]
        names = {**steps.names, "encode": self.plain, "refuse": refuse, "__name__": __name__}
        return compiled("v", lines, names)  # type: ignore[return-value]  # it returns what encode and refuse do

    def decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        """Return a decoding function for a type; the same one each time.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` when no value of this type can be decoded.
        """
        known = self._decoders.get(type_)
        if known is None:
            known = self._decoders[type_] = _guarded(self.plain_decoder(type_), type_)
        return known

    def plain_decoder(self, type_: Any, /) -> Callable[[bytes | memoryview], Any]:
        """Return a new decoding function for a type, which raises msgspec's own errors; ask once and keep it.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` when no value of this type can be decoded.
        """
        found = readable(type_)
        if problems := unresolved(found):
            raise unusable(type_, problems)
        try:
            return self._decoder(found)
        except Exception as cause:  # an annotation is code, which may raise anything
            raise unusable(type_, problems_of(found), cause) from cause


def msgpack_serializer() -> MsgspecSerializer:
    """Return the default serializer: compact, binary, keeps bytes as bytes."""
    return MsgspecSerializer(MSGPACK, encoder_of(MSGPACK), functools.partial(decoder_of, MSGPACK), known=True)


def json_serializer() -> MsgspecSerializer:
    """Return the serializer for peers and people that read JSON."""
    return MsgspecSerializer(JSON, encoder_of(JSON), functools.partial(decoder_of, JSON), known=True)


def reader_of(format: str, serializer: Serializer) -> Serializer | None:
    """Return the serializer that reads a format, `None` where neither the given one nor a built-in one does.

    Args:
        format: The name of the serializer that made the bytes.
        serializer: The container's.
    """
    if format == serializer.name:
        return serializer
    make = _BUILT_IN.get(format)
    return None if make is None else make()


_BUILT_IN: dict[str, Callable[[], Serializer]] = {
    MSGPACK: functools.cache(msgpack_serializer),
    JSON: functools.cache(json_serializer),
}


def unusable(type_: Any, problems: Sequence[TypeProblem], cause: BaseException | None = None) -> CatgaError:
    """Return the error for a type that cannot be encoded and decoded.

    Args:
        type_: The type.
        problems: What is wrong with it, and in which fields.
        cause: What was raised for it, `None` for nothing.
    """
    text = " ".join(map(str, problems)) or (reason(cause) if cause is not None else "")
    return SerializationError(f"{shown_type(type_)} cannot be decoded: {text}")


def undecodable(type_: Any, cause: BaseException) -> CatgaError:
    """Return the error for bytes that are not a value of a type; it tells where, never what stood there.

    Raise it `from` its cause: a `msgspec.ValidationError` there says that the bytes could be read and hold something
    else.

    Args:
        type_: What was expected.
        cause: What the decoder raised.
    """
    if isinstance(cause, msgspec.ValidationError):
        path, rule = broken_rule(cause)
        text = f"{rule} - at `{path}`" if path else rule
    else:
        text = reason(cause)
    return SerializationError(f"the bytes are not a valid {shown_type(type_)}: {text}")


def unserializable(value: object, cause: BaseException) -> CatgaError:
    """Return the error for a value that has no bytes; it names the type, never the value.

    Args:
        value: What should have been encoded.
        cause: What the encoder raised.
    """
    return SerializationError(
        f"a {type(value).__name__} cannot be serialized: {reason(cause)}",
    )


def broken_rule(cause: msgspec.ValidationError) -> tuple[str, str]:
    """Return where a value breaks which rule.

    msgspec quotes what stood there for an enumeration, a tag and an unknown field; that is left out.

    Args:
        cause: What msgspec raised.

    Returns:
        The path (`$.items[0].quantity`, empty where none is known) and the rule.
    """
    found = _PLACE.search(text := str(cause))
    path, rule = (found[2], text[: found.start()]) if found else ("", text)
    if cause.__cause__ is not None:
        # Out of the class's own __post_init__, whose text may quote anything.
        rule = f"refused by the class itself ({type(cause.__cause__).__name__})"
    for start in _QUOTING:
        if rule.startswith(start):
            rule = start
    return path, f"a key of it: {rule}" if found and found[1] else rule


_PLACE = re.compile(r" - at (`key` in )?`(\$(?:\.[\w-]+|\[\d+\]|\[\.\.\.\])*)`$")
_QUOTING = ("Invalid enum value", "Invalid value", "Object contains unknown field")


def reason(cause: BaseException) -> str:
    """Return why a value has no bytes, or bytes are no value, without what is in them."""
    if isinstance(cause, RecursionError):
        return "nested too deep"
    if isinstance(cause, UnicodeError):
        # Its text shows the characters.
        return "a string in it is not valid Unicode"
    if isinstance(cause, msgspec.MsgspecError | TypeError | OverflowError | NotImplementedError):
        return str(cause)
    return type(cause).__name__


def _guarded(decode: Callable[[Any], Any], type_: Any) -> Callable[[bytes | memoryview], Any]:
    def guarded(data: bytes | memoryview) -> Any:
        try:
            return decode(data)
        except Exception as cause:  # also what a class's own __post_init__ raises
            raise undecodable(type_, cause) from cause

    return guarded


def shown_type(type_: Any) -> str:
    """Return a type's name as a person would write it."""
    return getattr(type_, "__name__", None) or str(type_)
