"""Checks what a handler returned against the declared result of its message."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import Any, get_origin

import msgspec.inspect as shape

from catga_core.descriptions import shown
from catga_core.errors import CatgaError, SerializationError
from catga_core.interfaces.validation import ValidationProblem
from catga_core.log import RESULT_REFUSED, logger
from catga_core.messages import MessageKind, MessageType
from catga_core.messages.context import active_context
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline import UNCHECKED, Returned, as_result
from catga_core.validation.constraints import check_of_shape
from catga_core.validation.shapes import CONSTRAINTS

_LEAVES: dict[type[shape.Type], type[Any]] = {
    shape.NoneType: type(None),
    shape.BoolType: bool,
    shape.IntType: int,
    shape.FloatType: float,
    shape.StrType: str,
    shape.BytesType: bytes,
    shape.DecimalType: decimal.Decimal,
    shape.UUIDType: uuid.UUID,
    shape.DateType: dt.date,
    shape.TimeDeltaType: dt.timedelta,
    shape.DateTimeType: dt.datetime,
    shape.TimeType: dt.time,
}


class WrongResultError(SerializationError):
    """A handler returned something else than the declared result of its message."""


def returned_for(described: MessageType, handler: str) -> Returned:
    """Return what a handler of a message may return.

    A value of exactly the declared class costs one look-up. The fields of a returned object are not looked at here: they are
    checked where it is encoded.

    Args:
        described: The message's type.
        handler: The handler's name, for errors.
    """
    if described.kind in {MessageKind.EVENT, MessageKind.STREAM}:
        return UNCHECKED
    try:
        result = shape.type_info(described.result)
        check = check_of_shape(result)
    except Exception:  # noqa: BLE001 - what no check can be made of is reported where the message is registered
        return UNCHECKED
    good = _exact(result)
    if good is None:
        return UNCHECKED

    def finish(value: Any) -> CatgaResult[Any]:
        found = as_result(value)
        if isinstance(found, Failure) or found.value.__class__ in good:
            return found
        problems: list[ValidationProblem] = []
        try:
            if check.good(found.value):
                return found
            check.explain(found.value, "", problems)
        except RecursionError:
            problems = [ValidationProblem("", "is nested too deep to be checked")]
        return _refused(described, handler, problems)

    return Returned(good, finish)


def _exact(described: shape.Type) -> frozenset[type[Any]] | None:
    """Return the classes whose values need no further look, `None` where every value will do."""
    match described:
        case shape.AnyType():
            return None
        case shape.Metadata():
            return _exact(described.type)
        case shape.UnionType():
            found: frozenset[type[Any]] = frozenset()
            for each in described.types:
                member = _exact(each)
                if member is None:
                    return None
                found |= member
            return found
        case shape.StructType() | shape.DataclassType() | shape.NamedTupleType() | shape.EnumType():
            return frozenset({get_origin(described.cls) or described.cls})
        case _:
            leaf = _LEAVES.get(type(described))
            free = all(getattr(described, name, None) is None for name in CONSTRAINTS)
            return frozenset({leaf}) if leaf is not None and free else frozenset()


def _refused(described: MessageType, handler: str, problems: list[ValidationProblem]) -> CatgaResult[Any]:
    wrong = "; ".join(f"{each.field}: {each.message}" if each.field else each.message for each in problems)
    declared = shown(described.result)
    error: CatgaError = WrongResultError(
        f"{handler} returned a wrong result for {described.name}: it {wrong}. Return {declared}, or declare the message with "
        "the type that is returned.",
        details={"errors": [{"field": each.field, "message": each.message} for each in problems]},
    )
    context = active_context.get()
    logger().error(
        RESULT_REFUSED,
        message_type=described.name,
        handler=handler,
        error=wrong,
        message_id=None if context is None else context.message_id,
        correlation_id=None if context is None else context.correlation_id,
    )
    return Failure(error)
