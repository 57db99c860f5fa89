"""Encode values so that they are read back exactly, or refuse them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from catga_core.codecs.findings import Finding, listed
from catga_core.codecs.plan import plan_of
from catga_core.codecs.same import same
from catga_core.errors import CatgaError, SerializationError
from catga_core.messages.serializer import Serializer
from catga_core.messages.serializers import MsgspecSerializer, shown_type, undecodable, unserializable


def exact_encoder(serializer: Serializer, type_: Any, subject: str = "") -> Callable[[Any], bytes]:
    """Return an encoding function for the values of a type that refuses what would not be read back as it is.

    Ask once for each type and keep it: what it checks is compiled for the type. The bytes of a serializer that is not
    built in are decoded again and compared.

    Args:
        serializer: The format.
        type_: The values' declared type.
        subject: What is encoded, for errors; empty for the type's name.

    Raises:
        SerializationError: When no value of the type can be decoded; the function raises it for a value that would be
            read back as another one, naming the fields and the rules, never what stands there.
    """
    named = subject or shown_type(type_)
    if not isinstance(serializer, MsgspecSerializer) or not serializer.known:
        return _compared(serializer, type_, named)
    findings_of = finder(serializer, type_)
    encode: Callable[[Any], bytes] = serializer.encode

    def refuse(value: Any) -> bytes:
        raise refusal(named, encode, value, findings_of(value))

    return serializer.checked(plan_of(type_).check(serializer.name), refuse)


def is_built_in(serializer: Serializer) -> bool:
    """Tell whether what a serializer reads back is known without trying."""
    return isinstance(serializer, MsgspecSerializer) and serializer.known


def finder(serializer: Serializer, type_: Any) -> Callable[[Any], list[Finding]]:
    """Return a function that says why a value would not be read back as it is.

    Args:
        serializer: A built-in serializer.
        type_: The values' declared type.

    Raises:
        SerializationError: When no value of the type can be decoded.
    """
    plan, format = plan_of(type_), serializer.name
    if plan.problems:
        raise SerializationError(" ".join(map(str, plan.problems)))

    def findings_of(value: Any) -> list[Finding]:
        return plan.findings(value, format)

    return findings_of


def refusal(
    subject: str, encode: Callable[[Any], bytes], value: Any, findings: Sequence[Finding]
) -> SerializationError:
    """Return the error for a value that has no bytes, or would be read back as another one.

    Args:
        subject: What should have been encoded.
        encode: The serializer's function.
        value: The value.
        findings: Why.
    """
    try:
        encode(value)
    except CatgaError as error:
        fields = f" ({listed(findings)})" if findings else ""
        return SerializationError(f"{error.message}{fields}", details=_details(findings))
    return inexact(subject, findings)


def inexact(subject: str, findings: Sequence[Finding]) -> SerializationError:
    """Return the error for a value that would be read back as another one.

    Args:
        subject: What should have been encoded.
        findings: Why.
    """
    return SerializationError(
        f"{subject} would not be read back as it is: {listed(findings)}",
        details=_details(findings),
    )


def _details(findings: Sequence[Finding]) -> dict[str, Any]:
    return {"errors": [{"field": each.path, "message": each.text} for each in findings]}


def _compared(serializer: Serializer, type_: Any, named: str) -> Callable[[Any], bytes]:
    decode = serializer.decoder(type_)

    def exact(value: Any) -> bytes:
        try:
            data = serializer.encode(value)
        except CatgaError:
            raise
        except Exception as error:  # a serializer of the application's may raise anything
            raise unserializable(value, error) from error
        try:
            back = decode(data)
        except Exception as error:
            text = f"{named} cannot be read back: {undecodable(type_, error).message}"
            raise SerializationError(text) from error
        if not same(back, value):
            text = "is another value when it is read back: use a type that the serializer keeps"
            raise inexact(named, [Finding("", text, declared=False)])
        return data

    return exact
