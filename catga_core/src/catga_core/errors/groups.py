"""Exception groups, which `asyncio.TaskGroup` raises: the one failure that a group of `CatgaError`s stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catga_core.errors.base import CatgaError
from catga_core.errors.codes import is_fault
from catga_core.errors.outcome import Outcome


def as_catga_error(error: BaseException) -> CatgaError | None:
    """Return the `CatgaError` that an exception is or stands for.

    A group stands for one when each exception in it, at any depth, is a `CatgaError`: for its only one, or for a new one with
    the code and details of the most serious. That is the first with the code of a fault, else the first that is not
    retryable, else the first. It is retryable if all are, and its outcome is unknown if one of them is.

    Args:
        error: What was raised.

    Returns:
        The error, `None` for an exception, and for a group with one, that is not a `CatgaError`.
    """
    if isinstance(error, CatgaError):
        return error
    if not _is_group(error):
        return None
    errors: list[CatgaError] = []
    for each in _leaves(error):
        if not isinstance(each, CatgaError):
            return None
        errors.append(each)
    return errors[0] if len(errors) == 1 else _summary(errors)


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _leaves(group: Any) -> Iterator[BaseException]:
    for each in group.exceptions:
        if _is_group(each):
            yield from _leaves(each)
        else:
            yield each


def _summary(errors: list[CatgaError]) -> CatgaError:
    worst = min(errors, key=lambda each: (not is_fault(each.code), each.retryable))
    details = dict(worst.details)
    outcomes = {each.outcome for each in errors}
    if Outcome.UNKNOWN in outcomes:
        details["outcome"] = str(Outcome.UNKNOWN)
    elif len(outcomes) > 1:
        details.pop("outcome", None)
    return CatgaError(
        f"{worst.message} ({len(errors) - 1} more in the same group)",
        code=worst.code,
        retryable=all(each.retryable for each in errors),
        details=details,
    )
