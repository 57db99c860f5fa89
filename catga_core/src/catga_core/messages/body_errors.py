"""Errors for bytes that are not the expected message or result; none quotes what is in them."""

from __future__ import annotations

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.messages.bodies import invalid
from catga_core.messages.serializers import broken_rule, reason
from catga_core.messages.types import MessageType


def misfit(message_type: MessageType, error: Exception, place: str = "$") -> CatgaError:
    """Return the error for a message that could be read, with a body that does not fit.

    Args:
        message_type: What was expected.
        error: What the serializer raised.
        place: Where in the bytes the body lies.

    Returns:
        `VALIDATION_FAILED` for a body that breaks its types or constraints, `SERIALIZATION_FAILED` for one that is not
        even readable.
    """
    if isinstance(error, CatgaError) and "upcaster" in error.details:
        return SerializationError(
            f"an older {message_type.name} arrived, and {error.message}", details=error.details
        )
    cause = error.__cause__ if isinstance(error, CatgaError) else error
    if not isinstance(cause, msgspec.ValidationError):
        text = f"the body is not a valid {message_type}: {fault_in(error)}"
        return SerializationError(text)
    path, rule = broken_rule(cause)
    field = path.removeprefix(place).removeprefix(".")
    return invalid(message_type.cls.__name__, [{"field": field, "message": rule}])


def fault_in(error: Exception, place: str = "$") -> str:
    """Return what was wrong with the bytes, without what stood there."""
    cause = error.__cause__ if isinstance(error, CatgaError) else error
    if isinstance(cause, msgspec.ValidationError):
        path, rule = broken_rule(cause)
        return f"{rule} - at `{path.replace(place, '$', 1)}`" if path else rule
    if cause is None:
        return error.message if isinstance(error, CatgaError) else type(error).__name__
    return reason(cause)
