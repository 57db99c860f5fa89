"""Checks what a handler returned against the declared result of its message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec.inspect as shape

from catga_core.codecs.checks import Check, Steps
from catga_core.codecs.findings import Finding
from catga_core.codecs.plan import findings_by, plan_of
from catga_core.descriptions import shown
from catga_core.errors import CatgaError, SerializationError
from catga_core.log import RESULT_REFUSED, logger
from catga_core.messages import MessageKind, MessageType
from catga_core.messages.context import active_context
from catga_core.messages.exact import exact_encoder, is_built_in
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.messages.serializer import Serializer
from catga_core.pipeline import UNCHECKED, Returned, as_result

# What is written out where a value is returned; the check of a longer one is called.
_MOST_LINES = 20
_CHECKS = "__catga_result_checks__"


class WrongResultError(SerializationError):
    """A handler returned something else than the declared result of its message."""


def returned_for(described: MessageType, handler: str, serializer: Serializer) -> Returned:
    """Return what a handler of a message may return: what a serializer reads back as it is.

    Two things are left to where the value is encoded: the size of an int and the letters of a text in the fields of an object.

    Args:
        described: The message's type.
        handler: The handler's name, for errors.
        serializer: The container's format.
    """
    if described.kind in {MessageKind.EVENT, MessageKind.STREAM}:
        return UNCHECKED
    try:
        check, is_float = _check_of(described, serializer)
    except Exception:  # noqa: BLE001 - what no check can be made of is reported where the message is registered
        return UNCHECKED

    def finish(value: Any) -> CatgaResult[Any]:
        found = as_result(value)
        if isinstance(found, Failure):
            return found
        findings = findings_by(check, found.value)
        if findings:
            return _refused(described, handler, findings)
        if is_float and type(found.value) is int:
            # As a receiver reads it.
            return Success(float(found.value))
        return found

    return Returned(finish, _steps_of(check, is_float=is_float))


def item_check(described: MessageType, handler: str, serializer: Serializer) -> Callable[[Any], Any] | None:
    """Return what each item of a stream passes, by the rules of `returned_for`.

    Args:
        described: The stream query's type.
        handler: The handler's name, for errors.
        serializer: The container's format.

    Returns:
        A function that returns the item or raises a `WrongResultError`; `None` where every item is right.
    """
    try:
        check, is_float = _check_of(described, serializer)
    except Exception:  # noqa: BLE001 - as in returned_for
        return None
    good = check.good

    def passed(item: Any) -> Any:
        if is_float and type(item) is int:
            return float(item)
        try:
            if good(item):
                return item
        except RecursionError:
            pass
        findings = findings_by(check, item)
        if findings:
            raise _refusal(described, handler, findings, "yielded a wrong item", "Yield")
        return item

    return passed


def _check_of(described: MessageType, serializer: Serializer) -> tuple[Check, bool]:
    """Return the check of a message's result, and whether an int is returned as a float; compiled once."""
    if not is_built_in(serializer):
        return _tried(described, serializer), False
    known: dict[str, tuple[Check, bool]] = described.cls.__dict__.get(_CHECKS, {})
    format = serializer.name
    if format not in known:
        plan = plan_of(described.result)
        kinds = _kinds(shape.type_info(plan.type))
        is_float = shape.FloatType in kinds and shape.IntType not in kinds
        known = {**known, format: (plan.bounded_check(format), is_float)}
        # On the class itself, so that it goes when the class goes.
        setattr(described.cls, _CHECKS, known)
    return known[format]


def _tried(described: MessageType, serializer: Serializer) -> Check:
    """Return the check of a serializer of the application's: what it reads back is known by trying."""
    encode = exact_encoder(serializer, described.result)

    def good(value: Any) -> bool:
        try:
            encode(value)
        except CatgaError:
            return False
        return True

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        try:
            encode(value)
        except CatgaError as error:
            findings.append(Finding(path, f"cannot be sent: {error.message}", declared=False))

    return Check(shown(described.result), lambda _: True, good, explain)


def _kinds(described: shape.Type) -> set[type[shape.Type]]:
    match described:
        case shape.Metadata():
            return _kinds(described.type)
        case shape.UnionType():
            return {kind for each in described.types for kind in _kinds(each)}
        case _:
            return {type(described)}


def _steps_of(check: Check, *, is_float: bool) -> Steps:
    if is_float:
        return Steps(("if type(v) is not builtins_float or not good(v): {fail}",), {"good": check.good})
    if check.expected == "None":
        return Steps(("if v is not None: {fail}",), {})
    if check.inline:
        return Steps(("x = v", f"if not ({check.inline}): {{fail}}"), {})
    if check.steps is not None and len(check.steps.lines) <= _MOST_LINES:
        return check.steps
    return Steps(("if not good(v): {fail}",), {"good": check.good})


def _refused(described: MessageType, handler: str, findings: Sequence[Finding]) -> CatgaResult[Any]:
    return Failure(_refusal(described, handler, findings, "returned a wrong result", "Return"))


def _refusal(
    described: MessageType, handler: str, findings: Sequence[Finding], what: str, fix: str
) -> CatgaError:
    wrong = "; ".join(f"{each.path}: {each.text}" if each.path else each.text for each in findings)
    declared = shown(described.result)
    error: CatgaError = WrongResultError(
        f"{handler} {what} for {described.name}: it {wrong}. {fix} {declared}, or declare the message with "
        f"the type that is {what.partition(' ')[0]}.",
        details={"errors": [{"field": each.path, "message": each.text} for each in findings]},
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
    return error
