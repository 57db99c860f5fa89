"""Whether there is an order in which what several clients saw is what a model would have told them."""

from __future__ import annotations

from typing import Any

from tests.contracts.stores_model.calls import Answer, Call, Outcome, WouldFailError

CONFLICT = "CONFLICT"


def explained(models: list[Any], outcomes: list[list[Outcome]], *, immediate: bool) -> list[Any]:
    """Return what the store may be after the outcomes, each at some point of one order.

    Parameters:
        models: what it may have been before.
        outcomes: of works that were done at the same time, those of each client in the order in which it did them.
        immediate: whether units of work write at once, and so are never told of a conflict at the commit.
    """
    found: list[Any] = []
    queues = tuple(
        tuple(part for each in several for part in _parts(each, immediate=immediate)) for several in outcomes
    )
    left = [(model, queues) for model in models]
    # Orders that come to the same are followed once.
    known: dict[tuple[int, ...], list[Any]] = {}
    while left:
        before, queues = left.pop()
        same = known.setdefault(tuple(map(len, queues)), [])
        if before in same:
            continue
        same.append(before)
        if not any(queues):
            found.append(before)
        for number, queue in enumerate(queues):
            after = before.copy()
            if queue and _explains(after, queue[0], immediate=immediate):
                left.append((after, (*queues[:number], queue[1:], *queues[number + 1 :])))
    return found


def seen(models: list[Any], looks: list[tuple[Call, Answer]]) -> list[Any]:
    """Return those of the models that show what was seen."""
    return [model for model in models if all(_step(model, call, answer) for call, answer in looks)]


def _parts(outcome: Outcome, *, immediate: bool) -> list[Outcome]:
    """Return what has to be explained at one point of the order each.

    Where writes are collected, each call looks at its own time, and only a commit looks at all of it once more.
    """
    if immediate or not outcome.work.unit or outcome.work.commits or outcome.code is not None:
        return [outcome]
    pairs = zip(outcome.calls, outcome.answers, strict=True)
    return [Outcome(outcome.work, [call], [answer]) for call, answer in pairs]


def _explains(model: Any, outcome: Outcome, *, immediate: bool) -> bool:
    if not outcome.work.unit:
        return _step(model, outcome.calls[0], outcome.answers[0])
    if not immediate and outcome.code == CONFLICT:
        # Somebody wrote meanwhile what it relied on. It has done nothing; whether it had to be, the store decides.
        return True
    trial = model.copy()
    try:
        steps = zip(outcome.calls, outcome.answers, strict=False)
        right = all(_step(trial, call, answer) for call, answer in steps)
    except WouldFailError:
        return outcome.code is not None or not outcome.work.commits
    if right and outcome.code is None and outcome.work.commits:
        vars(model).update(vars(trial))
    refused = any(answer.code is not None for answer in outcome.answers)
    return right and (outcome.code is None or refused)


def _step(model: Any, call: Call, answer: Answer) -> bool:
    right: bool = getattr(model, call.method)(answer, *call.arguments, **call.options)
    return right
