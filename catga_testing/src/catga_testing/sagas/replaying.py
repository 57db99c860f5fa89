"""`replay_check`: replays recorded journals against the current code, without effects."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

import msgspec

from catga_core import CatgaMediator
from catga_core.errors import CatgaError
from catga_core.interfaces.saga_records import (
    ClaimedSaga,
    SagaClaim,
    SagaState,
)
from catga_core.messages.registry import MessageRegistry
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import Saga
from catga_core.sagas.entries import Failing, Received, StepFailed, decode_entry
from catga_core.sagas.rehearsal import Rehearsal, rehearse
from catga_core.sagas.settings import SagaCounters, Services
from catga_core.sagas.types import SagaType, saga_type
from catga_testing.sagas.determinism import deterministic_sagas
from catga_testing.sagas.exploring import without_log
from catga_testing.sagas.journals import SagaJournal
from catga_testing.sagas.virtual_time import VirtualClock, end_other_tasks, run_virtually

_LONGEST_SECONDS = 86_400.0


class ReplayProblem(msgspec.Struct, frozen=True):
    """A saga whose code does not match its journal.

    Args:
        transaction_id: The saga.
        saga: The name of its class.
        version: The version of its class.
        text: What is wrong.
        recorded: The operation that the journal has at that place, `None` where it has none, or where something else is wrong.
        asked: The operation that the code asked for, `None` where it asked for none, or where something else is wrong.
    """

    transaction_id: str
    saga: str
    version: int
    text: str
    recorded: str | None = None
    asked: str | None = None


class ReplayReport(msgspec.Struct, frozen=True):
    """The result of `replay_check`.

    Args:
        checked: How many journals were replayed.
        problems: The sagas whose code no longer fits.
    """

    checked: int
    problems: Sequence[ReplayProblem]

    def raise_on_failure(self) -> None:
        """Raise an error unless every journal matches.

        Raises:
            ReplayError: The code does not fit a journal.
        """
        if self.problems:
            raise ReplayError(self)

    def __str__(self) -> str:
        """Return the report as text, one line for each problem."""
        head = f"{self.checked} journals replayed, {len(self.problems)} do not fit"
        lines = [
            f"  {each.saga} v{each.version} {each.transaction_id}: {each.text}" for each in self.problems
        ]
        return "\n".join([head, *lines])


class ReplayError(AssertionError):
    """The code of sagas does not match recorded journals.

    Args:
        report: What was found.
    """

    def __init__(self, report: ReplayReport) -> None:
        super().__init__(str(report))
        self.report: ReplayReport = report


def replay_check(
    histories: Iterable[SagaJournal | bytes],
    *sagas: type[Saga[Any, Any]],
    services: Mapping[str, object] | None = None,
    check: bool = True,
) -> ReplayReport:
    """Replay recorded journals against the current code of sagas.

    No step runs, no compensation, nothing is written. Use it before a deployment: export the journals of the sagas that run, keep them as
    files, and replay them with the new code. The code may go further than a journal does; it must not leave out, rename or reorder what the
    journal has. Non-deterministic calls between steps are rejected, as by `deterministic_sagas`.

    Args:
        histories: The journals, as `export_journals` or `SagaJournal.to_bytes` returned them.
        sagas: The classes of today, in every version that is registered.
        services: What constructors are given, by the name of the parameter, for services whose values the code uses between its
            steps. Every other parameter is given an object that must not be called.
        check: Whether to raise where a journal does not fit.

    Returns:
        The report.

    Raises:
        ReplayError: The code does not fit a journal.
        ConfigurationError: A class is not a saga.
    """
    types = {(type_.name, type_.version): type_ for type_ in (saga_type(each, {}) for each in sagas)}
    journals = [SagaJournal.from_bytes(each) if isinstance(each, bytes) else each for each in histories]

    async def replay() -> list[ReplayProblem]:
        found: list[ReplayProblem] = []
        for journal in journals:
            problem = await _problem_of(journal, types, services or {})
            if problem is not None:
                found.append(problem)
        return found

    with without_log():
        report = ReplayReport(len(journals), run_virtually(replay))
    if check:
        report.raise_on_failure()
    return report


class _Children:
    """Knows the classes of child sagas, and runs none."""

    def __init__(self, types: Mapping[tuple[str, int], SagaType]) -> None:
        self._types = types

    def type_of(self, saga: type[Saga[Any, Any]]) -> SagaType:
        """Return what is read from a class."""
        for each in self._types.values():
            if each.cls is saga:
                return each
        return saga_type(saga, {})


class _Untouchable:
    """A service that a replay must not call."""

    def __init__(self, name: str) -> None:
        self._catga_name = name

    def __getattr__(self, name: str) -> _Untouchable:
        return _Untouchable(f"{self._catga_name}.{name}")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        text = (
            f"The code called {self._catga_name}() outside of a step. Make it a step, or pass the service to replay_check(services=...) "
            "where the call has no effect."
        )
        raise CatgaError(text, code="EFFECT_OUTSIDE_STEP", retryable=False)


async def _problem_of(
    journal: SagaJournal, types: Mapping[tuple[str, int], SagaType], services: Mapping[str, object]
) -> ReplayProblem | None:
    saga = journal.record.saga

    def problem(text: str, recorded: str | None = None, asked: str | None = None) -> ReplayProblem:
        return ReplayProblem(saga.transaction_id, saga.name, saga.version, text, recorded, asked)

    if (type_ := types.get((saga.name, saga.version))) is None:
        known = ", ".join(f"{name} v{version}" for name, version in types) or "none"
        return problem(f"No class has this name and version; the classes are {known}. Pass its class.")
    with deterministic_sagas(check=False) as rules:
        task = asyncio.ensure_future(_rehearsal_of(journal, type_, types, services))
        await asyncio.wait([task], timeout=_LONGEST_SECONDS)
        ended = task.done()
        await end_other_tasks()
    if rules.violations or not ended:
        waits = "The code waits for something that is not the saga's. Await only methods of SagaContext between steps."
        return problem(str(rules.violations[0]) if rules.violations else waits)
    if (refused := task.exception()) is not None:
        return problem(f"It cannot be resumed: {type(refused).__name__}: {refused}")
    shown = task.result()
    if shown.mismatch is not None:
        return problem(str(shown.mismatch), shown.mismatch.recorded, shown.mismatch.asked)
    raises = shown.error is not None and not _may_raise(journal)
    return problem(f"The code raises {type(shown.error).__name__}: {shown.error}") if raises else None


async def _rehearsal_of(
    journal: SagaJournal,
    type_: SagaType,
    types: Mapping[tuple[str, int], SagaType],
    services: Mapping[str, object],
) -> Rehearsal:
    async def make(use: Callable[[Saga[Any, Any]], Awaitable[None]]) -> None:
        await use(type_.cls(**_arguments(type_.cls, services)))

    once = RetryPolicy(max_attempts=1)
    nothing = Services(
        _refused,
        _refused,
        cast("CatgaMediator", _Untouchable("mediator")),
        VirtualClock(),
        MessageRegistry(),
        cast("Any", _Children(types)),
        once,
        once,
        0.0,
        SagaCounters(),
        _refused,
    )
    claim = SagaClaim(journal.transaction_id, 1)
    claimed = ClaimedSaga(claim, journal.record, journal.entries, taken_over=False)
    return await rehearse(claimed, type_, make, nothing)


def _may_raise(journal: SagaJournal) -> bool:
    """Whether an error of the code may be one that it raised before: the journal has a failure, or ends before one."""
    if journal.record.state is SagaState.COMPLETED:
        return False
    return any(
        isinstance(each, Failing | StepFailed) or (isinstance(each, Received) and each.position is None)
        for each in map(decode_entry, journal.entries)
    )


def _arguments(cls: type[Any], services: Mapping[str, object]) -> dict[str, object]:
    if cls.__init__ is object.__init__:
        return {}
    found: dict[str, object] = {}
    for each in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}:
            found[each.name] = services.get(each.name, _Untouchable(each.name))
    return found


def _refused(*_: object) -> NoReturn:
    msg = "A replay runs nothing."
    raise RuntimeError(msg)
