"""`replay_check`: replays recorded journals against today's code, without running any effect."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, cast

import msgspec

from catga_core import CatgaMediator
from catga_core.errors import CatgaError, SagaChangedError
from catga_core.interfaces.saga_store import ClaimedSaga, SagaClaim, SagaState, SagaStore
from catga_core.messages.registry import MessageRegistry
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas import Saga, SagaContext
from catga_core.sagas.branches import Branch, current_branch
from catga_core.sagas.entries import Failing, Received, StepFailed, decode_entry
from catga_core.sagas.execution import Execution
from catga_core.sagas.failures import catga_error
from catga_core.sagas.history import History
from catga_core.sagas.records import beginning_of
from catga_core.sagas.settings import SagaCounters, Services
from catga_core.sagas.steps import Steps
from catga_core.sagas.stops import HandedBack, Interrupted, Parked, SagaStop
from catga_core.sagas.types import SagaType, saga_type
from catga_testing.sagas.determinism import deterministic_sagas
from catga_testing.sagas.exploring import without_log
from catga_testing.sagas.journals import SagaJournal
from catga_testing.sagas.virtual_time import VirtualClock, end_other_tasks, run_virtually

_LONGEST_SECONDS = 86_400.0


class ReplayProblem(msgspec.Struct, frozen=True):
    """A saga whose code does not fit its journal.

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
    """What `replay_check` has found.

    Args:
        checked: How many journals were replayed.
        problems: The sagas whose code no longer fits.
    """

    checked: int
    problems: Sequence[ReplayProblem]

    def raise_on_failure(self) -> None:
        """Do nothing where every journal fits.

        Raises:
            ReplayError: The code does not fit a journal.
        """
        if self.problems:
            raise ReplayError(self)

    def __str__(self) -> str:
        """Return it as text, one line for each problem."""
        head = f"{self.checked} journals replayed, {len(self.problems)} do not fit"
        lines = [
            f"  {each.saga} v{each.version} {each.transaction_id}: {each.text}" for each in self.problems
        ]
        return "\n".join([head, *lines])


class ReplayError(AssertionError):
    """The code of sagas does not fit recorded journals.

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
    """Replay recorded journals against today's code, and report each saga whose code no longer fits.

    No step runs, no compensation, nothing is written. Use it before a deployment: export the journals of the sagas that run, keep them as
    files, and replay them with the new code. The code may go further than a journal does; it must not leave out, rename or reorder what the
    journal has. Everything that sagas call between their steps that differs each time is refused, as by `deterministic_sagas`.

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


class _Replay(Execution):
    """Follows a journal to its end, and nothing beyond."""

    def check_step(self, branch: Branch) -> None:
        """End the replay: the step would run now."""
        self.check(branch)
        self._end()

    async def go_on(self, branch: Branch) -> None:
        """End the replay: something new would happen now."""
        await super().go_on(branch)
        self._end()

    async def wait(self, branch: Branch, until: float | None, topic: str | None) -> None:
        """End the replay: the saga waits here."""
        self.check(branch)
        del until, topic
        self._end()

    def _end(self) -> NoReturn:
        self.stop(HandedBack())
        raise SagaStop


class _NoStore:
    """Takes what is written, and keeps nothing."""

    async def append(self, *_: object, **__: object) -> None:
        """Keep nothing."""


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

    type_ = types.get((saga.name, saga.version))
    if type_ is None:
        known = ", ".join(f"{name} v{version}" for name, version in types) or "none"
        return problem(f"No class has this name and version; the classes are {known}. Pass its class.")
    try:
        history = History(journal.entries)
        data = type_.decode_data(beginning_of(journal.record).data)
        made = type_.cls(**_arguments(type_.cls, services))
    except Exception as error:  # noqa: BLE001 - whatever it is, the saga cannot be resumed
        return problem(f"It cannot be resumed: {type(error).__name__}: {error}")
    replay = _Code(journal, history, type_, types)
    try:
        await replay.run(made, data)
    finally:
        await end_other_tasks()
    found = replay.error
    if isinstance(found, SagaChangedError):
        return problem(str(found), found.recorded, found.asked)
    return None if found is None else problem(f"{type(found).__name__}: {found}")


class _Code:
    """Runs the code of one saga along its journal.

    Args:
        journal: The journal.
        history: What it says.
        type_: The saga's class.
        types: Every class.
    """

    def __init__(
        self,
        journal: SagaJournal,
        history: History,
        type_: SagaType,
        types: Mapping[tuple[str, int], SagaType],
    ) -> None:
        self.error: BaseException | None = None
        self._journal = journal
        self._history = history
        store = cast("SagaStore", _NoStore())
        clock = VirtualClock()
        claimed = ClaimedSaga(
            SagaClaim(journal.transaction_id, 1), journal.record, journal.entries, taken_over=False
        )
        self._execution = _Replay(claimed, history, store, clock, 0.0)
        once = RetryPolicy(max_attempts=1)
        self._services = Services(
            lambda: store,
            _refused,
            cast("CatgaMediator", _Untouchable("mediator")),
            clock,
            MessageRegistry(),
            cast("Any", _Children(types)),
            once,
            once,
            0.0,
            SagaCounters(),
            _refused,
        )
        beginning = beginning_of(journal.record)
        self._steps = Steps(
            self._execution, type_, self._services, beginning.correlation_id, beginning.traceparent
        )
        self._context = SagaContext(self._execution, type_, self._services, self._steps)

    async def run(self, saga: Saga[Any, Any], data: Any) -> None:
        """Run it, and keep what is wrong as `error`."""
        execution, failing = self._execution, self._history.failing
        if failing is not None:
            execution.stop(Interrupted(catga_error(failing.error), failing.cancelled))
        with ExitStack() as stack:
            rules = stack.enter_context(deterministic_sagas(check=False))
            task = asyncio.ensure_future(self._execute(saga, data))
            await asyncio.wait([task], timeout=_LONGEST_SECONDS)
            raised = task.exception() if task.done() and not task.cancelled() else None
        if rules.violations:
            self.error = rules.violations[0]
        elif isinstance(execution.reason, Parked):
            self.error = execution.reason.error
        elif not task.done():
            self.error = TimeoutError("the code waits for something that is not the saga's")
        elif (unread := self._history.unread()) is not None:
            self.error = SagaChangedError(self._journal.transaction_id, unread, None)
            self.error.__cause__ = raised
        elif isinstance(raised, Exception) and not self._may_raise():
            self.error = raised
        else:
            self.error = self._lost_compensation()

    async def _execute(self, saga: Saga[Any, Any], data: Any) -> None:
        bound = current_branch.set(self._execution.root)
        try:
            await saga.execute(data, self._context)
        except SagaStop:
            return
        finally:
            current_branch.reset(bound)

    def _may_raise(self) -> bool:
        """Whether an error of the code may be one that it raised before: the journal has a failure, or ends before one."""
        if self._journal.record.state is SagaState.COMPLETED:
            return False
        entries = map(decode_entry, self._journal.entries)
        return any(
            isinstance(each, Failing | StepFailed) or (isinstance(each, Received) and each.position is None)
            for each in entries
        )

    def _lost_compensation(self) -> BaseException | None:
        known = {each.key for each in self._steps.done} | {""}
        for key in self._history.compensations:
            if key not in known:
                asked = f"the compensation of {key.rsplit('#', 1)[0]!r}"
                return SagaChangedError(self._journal.transaction_id, asked, None)
        return None


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
