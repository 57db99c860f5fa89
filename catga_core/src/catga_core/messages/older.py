"""Hand a request of an older version to the handler of a newer one, without bytes between two processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from catga_core.errors import CatgaError, SerializationError
from catga_core.messages.bodies import BodyCodec
from catga_core.messages.body_errors import misfit
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializers import shown_type
from catga_core.messages.types import MessageType


class Conversion(msgspec.Struct, frozen=True):
    """How a request of an older version is handled by the handler of a newer one.

    Args:
        newer: What is handled.
        message: Converts a request; raises a `CatgaError` for one that cannot be converted.
        result: Makes the answer what the sender reads: of the result type of its own version.
    """

    newer: MessageType
    message: Callable[[Any], Any]
    result: Callable[[CatgaResult[Any]], CatgaResult[Any]]


def conversion(older: MessageType, newer: MessageType, bodies: BodyCodec) -> Conversion | None:
    """Return how a request is converted, `None` where no upcasters lead from one to the other.

    Args:
        older: What is sent.
        newer: What is handled.
        bodies: The handling side's, which knows its upcasters.
    """
    if not bodies.steps(newer, older.name, older.version):
        return None

    def message(given: Any) -> Any:
        data = bodies.encode(older, given)
        try:
            return bodies.decoder(newer, older.name, older.version)(data)
        except Exception as error:
            raise misfit(newer, error) from error

    def result(given: CatgaResult[Any]) -> CatgaResult[Any]:
        if not isinstance(given, Success) or newer.result == older.result:
            return given
        serializer = bodies.serializer
        try:
            return Success(serializer.decoder(older.result)(serializer.encode(given.value)))
        except Exception as error:  # noqa: BLE001 - a serializer of the application's may raise anything
            told = error.message if isinstance(error, CatgaError) else type(error).__name__
            text = (
                f"{newer} answered {older} with something else than {shown_type(older.result)}: {told}. Keep the result "
                "type, or give the new message another name."
            )
            return Failure(SerializationError(text))

    return Conversion(newer, message, result)
