"""Keeps a message that breaks its own types and constraints, or a registered rule, from its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, ClassVar, cast

from catga_core.errors import CatgaError, ErrorCode
from catga_core.interfaces.validation import ValidationProblem, Validator
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.failures import failure_of
from catga_core.pipeline.stage import Stage
from catga_core.validation.constraints import check_of
from catga_core.validation.shapes import has_constraints

__all__ = ["ValidationBehavior", "has_constraints"]


class ValidationBehavior(Behavior[Any, Any]):
    """Passes on a message only if it keeps its types, its `msgspec.Meta` constraints and the registered validators.

    Otherwise it answers with a failure of code `VALIDATION_FAILED` whose `details["errors"]` lists every problem
    as `{"field": ..., "message": ...}`. A validator that raises fails the message as a handler would, named by its
    class; it is passed over where the message's own types are already wrong, which is what it stumbles over then.

    Args:
        cls: The message class; its checks are compiled once.
        validators: The registered ones, called in this order.
    """

    stage: ClassVar[Stage] = Stage.VALIDATE

    __slots__ = ("_check", "_cls", "_validators")

    def __init__(self, cls: type[Any], validators: Sequence[Validator[Any]] = ()) -> None:
        self._cls = cls
        self._check = check_of(cls)
        self._validators = validators

    def with_validators(self, validators: Sequence[Validator[Any]]) -> ValidationBehavior:
        """Return a behavior with the same checks and other validators, for about the cost of an object.

        Args:
            validators: Called in this order.
        """
        return ValidationBehavior(self._cls, validators)

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return what the rest of the pipeline gives, or a failure of code `VALIDATION_FAILED`."""
        problems: list[ValidationProblem] | None = None
        try:
            if not self._check.good(message):
                problems = []
                self._check.explain(message, "", problems)
        except RecursionError:
            problems = [ValidationProblem("", "is nested too deep to be checked")]
        if self._validators:
            mistyped = problems is not None
            for validator in self._validators:
                try:
                    found = validator.validate(message)
                    found = await found if isinstance(found, Awaitable) else found
                    problems = _joined(problems, found)
                except Exception as error:  # noqa: BLE001 - a validator's own fault is the message's failure
                    if not mistyped:
                        return failure_of(error, type(validator).__name__)
        if problems is None:
            return await next(message)
        return Failure(_invalid(self._cls, problems))


def _joined(
    problems: list[ValidationProblem] | None, found: Iterable[ValidationProblem]
) -> list[ValidationProblem] | None:
    for problem in found:
        if not isinstance(cast("object", problem), ValidationProblem):
            msg = f"validate() must give ValidationProblem objects, gave {type(problem).__name__}"
            raise TypeError(msg)
        if problems is None:
            problems = []
        problems.append(problem)
    return problems


def _invalid(cls: type[Any], problems: list[ValidationProblem]) -> CatgaError:
    first = problems[0]
    shown = f"{first.field}: {first.message}" if first.field else first.message
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems, the first"
    return CatgaError(
        f"{cls.__name__} is not valid, {count}: {shown}",
        code=ErrorCode.VALIDATION_FAILED,
        details={"errors": [{"field": each.field, "message": each.message} for each in problems]},
    )
