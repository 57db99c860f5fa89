"""Keeps a message that breaks its own types and constraints, or a registered rule, from its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, ClassVar, cast

from catga_core.codecs.findings import Finding
from catga_core.codecs.plan import plan_of
from catga_core.codecs.serializing import NO_FORMAT
from catga_core.interfaces.validation import ValidationProblem, Validator
from catga_core.messages.bodies import invalid
from catga_core.messages.results import CatgaResult, Failure
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.call import Fail
from catga_core.pipeline.failures import failure_of
from catga_core.pipeline.stage import Stage
from catga_core.validation.shapes import has_constraints

__all__ = ["ValidationBehavior", "has_constraints"]


class ValidationBehavior(Behavior[Any, Any]):
    """Passes on a message only if it keeps its types, its `msgspec.Meta` constraints and the registered validators.

    Otherwise it answers with a failure of code `VALIDATION_FAILED` whose `details["errors"]` lists every problem
    as `{"field": ..., "message": ...}`. A validator that raises fails the message as a handler would, named by its
    class. No validator is called where a field is of another type than declared: it could not trust the message, and a
    transport would have refused it at the sender.

    Args:
        cls: The message class; its checks are compiled once.
        validators: The registered ones, called in this order.
        fail: Makes a failure of what a validator raises.
    """

    stage: ClassVar[Stage] = Stage.VALIDATE

    __slots__ = ("_check", "_cls", "_fail", "_validators")

    def __init__(
        self, cls: type[Any], validators: Sequence[Validator[Any]] = (), fail: Fail = failure_of
    ) -> None:
        self._cls = cls
        self._fail = fail
        # Compiled once for each class. What cannot be encoded has no handlers.
        plan = plan_of(cls)
        self._check = None if plan.problems else plan.check(NO_FORMAT)
        self._validators = validators

    def with_validators(self, validators: Sequence[Validator[Any]]) -> ValidationBehavior:
        """Return a behavior with the same checks and other validators, for about the cost of an object.

        Args:
            validators: Called in this order.
        """
        return ValidationBehavior(self._cls, validators, self._fail)

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return what the rest of the pipeline gives, or a failure of code `VALIDATION_FAILED`."""
        findings: list[Finding] = []
        try:
            if self._check is not None and not self._check.good(message):
                self._check.explain(message, "", findings)
        except RecursionError:
            findings = [Finding("", "is nested too deep to be checked", declared=True, mistyped=True)]
        problems: list[ValidationProblem] | None = None
        if findings:
            # What only an encoding would change is refused where the message is encoded.
            problems = [ValidationProblem(each.path, each.text) for each in findings if each.declared] or None
        if self._validators and not any(each.mistyped for each in findings):
            for validator in self._validators:
                try:
                    found = validator.validate(message)
                    found = await found if isinstance(found, Awaitable) else found
                    problems = _joined(problems, found)
                except Exception as error:  # noqa: BLE001 - a validator's own fault is the message's failure
                    return self._fail(error, type(validator).__name__)
        if problems is None:
            return await next(message)
        errors = [{"field": each.field, "message": each.message} for each in problems]
        return Failure(invalid(self._cls.__name__, errors))


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
