"""The bodies of messages and answers: checked before they are sent, upcast when they come in an older version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catga_core.codecs.plan import plan_of
from catga_core.errors import CatgaError, ErrorCode, SerializationError
from catga_core.messages.exact import exact_encoder, finder, inexact, is_built_in, refusal
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serializer import Serializer
from catga_core.messages.types import Message, MessageType
from catga_core.messages.upcasting import Upcaster, upcasting

_Good = Callable[[Any], bool]


class BodyCodec:
    """Encodes and decodes what stands in an envelope.

    Args:
        serializer: The format.
        registry: Knows the upcasters of messages that peers send in older versions; `None` for none.
    """

    __slots__ = ("_encoders", "_good", "_old", "_registry", "_revision", "_values", "serializer")

    def __init__(self, serializer: Serializer, registry: MessageRegistry | None = None) -> None:
        self.serializer: Serializer = serializer
        self._registry = registry
        self._good: dict[type[Message], _Good] = {}
        self._encoders: dict[type[Message], Callable[[Any], bytes]] = {}
        self._values: dict[Any, Callable[[Any], object]] = {}
        self._old: dict[tuple[type[Message], str, int], Callable[[bytes], Any]] = {}
        self._revision = -1

    def check(self, message_type: MessageType, message: object) -> None:
        """Refuse a message that would not arrive as it is.

        A message that only breaks declared constraints passes: its receiver tells that, with what its validators say.

        Args:
            message_type: The message's type.
            message: The message.

        Raises:
            CatgaError: `VALIDATION_FAILED` for a field of another type than declared, with every problem in
                `details["errors"]`; `SERIALIZATION_FAILED` for one that the format would change, and for a type that
                cannot be decoded.
        """
        good = self._good.get(message_type.cls)
        if good is None:
            good = self._good[message_type.cls] = self.check_of(message_type)
        try:
            if good(message):
                return
        except RecursionError:
            pass
        self.refuse(message_type, message)

    def check_of(self, message_type: MessageType) -> _Good:
        """Return what tells whether a message of a type would arrive as it is; `refuse` tells why one would not.

        Args:
            message_type: The messages' type.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`: no message of the type can be decoded.
        """
        cls = message_type.cls
        if is_built_in(self.serializer):
            finder(self.serializer, cls)
            return plan_of(cls).check(self.serializer.name).good
        encode = exact_encoder(self.serializer, cls)
        # It raises for a message that is not read back as it is.
        return lambda message: bool(encode(message)) or True

    def refuse(self, message_type: MessageType, message: object) -> None:
        """Refuse a message that would not arrive as it is; returns where it only breaks constraints.

        Args:
            message_type: The message's type.
            message: The message.

        Raises:
            CatgaError: As `check`.
        """
        findings = finder(self.serializer, message_type.cls)(message)
        try:
            self.serializer.encode(message)
        except CatgaError:
            # It has no bytes at all.
            raise refusal(message_type.cls.__name__, self.serializer.encode, message, findings) from None
        if any(each.mistyped for each in findings):
            raise invalid(
                message_type.cls.__name__,
                [{"field": each.path, "message": each.text} for each in findings if each.declared],
            )
        changed = [each for each in findings if not each.declared]
        if changed:
            raise inexact(message_type.cls.__name__, changed)

    def check_value(self, type_: Any, value: object, subject: str) -> None:
        """Refuse the value of an answer that would not arrive as it is.

        Args:
            type_: Its declared type.
            value: The value.
            subject: What it is, for errors.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`.
        """
        check = self._values.get(type_)
        if check is None:
            check = self._values[type_] = self._value_check(type_, subject)
        check(value)

    def encode(self, message_type: MessageType, message: object) -> bytes:
        """Return the bytes of a message alone.

        Raises:
            CatgaError: As `check`, and for a message that cannot be encoded.
        """
        if is_built_in(self.serializer):
            self.check(message_type, message)
            return self.serializer.encode(message)
        encode = self._encoders.get(message_type.cls)
        if encode is None:
            encode = self._encoders[message_type.cls] = exact_encoder(self.serializer, message_type.cls)
        return encode(message)

    def decoder(self, message_type: MessageType, name: str, version: int) -> Callable[[bytes], Any]:
        """Return what decodes the bodies of a message that came under a name and version.

        Args:
            message_type: What is expected.
            name: The wire name it came with.
            version: The version it came with.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` for another message, and for a version that no upcaster leads from.
        """
        if version == message_type.version and name == message_type.name:
            return self.serializer.decoder(message_type.cls)
        steps = self.steps(message_type, name, version)
        if not steps:
            raise SerializationError(another_message(message_type, name, version))
        key = (message_type.cls, name, version)
        known = self._old.get(key)
        if known is None:
            decode = self.serializer.decoder(message_type.cls)
            known = self._old[key] = upcasting(self.serializer, steps, decode)
        return known

    def steps(self, message_type: MessageType, name: str, version: int) -> list[Upcaster]:
        """Return the upcasters from a name and version to what is expected, none where they do not lead there."""
        if self._registry is None:
            return []
        if self._revision != self._registry.changes:
            self._old.clear()
            self._revision = self._registry.changes
        steps, end = self._registry.chain(name, version)
        return steps if end == (message_type.name, message_type.version) else []

    # --- inside ---

    def _value_check(self, type_: Any, subject: str) -> Callable[[Any], object]:
        if not is_built_in(self.serializer):
            return exact_encoder(self.serializer, type_, subject)
        findings_of = finder(self.serializer, type_)
        good = plan_of(type_).check(self.serializer.name).good

        def check(value: Any) -> None:
            try:
                if good(value):
                    return
            except RecursionError:
                pass
            raise refusal(subject, self.serializer.encode, value, findings_of(value))

        return check


def invalid(name: str, errors: list[dict[str, str]]) -> CatgaError:
    """Return the error for a message that breaks its declared types or constraints.

    Args:
        name: The message's class.
        errors: Each problem as `{"field": ..., "message": ...}`.
    """
    first = errors[0]
    shown = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    count = "1 problem" if len(errors) == 1 else f"{len(errors)} problems, the first"
    return CatgaError(
        f"{name} is not valid, {count}: {shown}",
        code=ErrorCode.VALIDATION_FAILED,
        details={"errors": errors},
    )


def another_message(expected: MessageType, name: str, version: int) -> str:
    """Return the error text for a message that arrived in the place of another, or in another version."""
    if name != expected.name:
        return f"{name} arrived where {expected.name} was expected"
    if version < expected.version:
        fix = f'register @upcaster("{name}", from_version={version}) with add_upcasters(...) here'
    else:
        fix = "run the newer version here too, before anyone sends it"
    return f"{name} v{version} arrived, and this process knows v{expected.version}: {fix}"
