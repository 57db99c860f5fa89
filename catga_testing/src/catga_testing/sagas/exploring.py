"""`explore_crashes`: runs a saga with a crash at every point, with failing steps and with unreliable deliveries."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import msgspec

from catga_core.handlers.hints import caller_locals
from catga_core.log import SafeLogger
from catga_core.option_checks import check_count
from catga_core.sagas import Saga, SagaOptions, SagaResult, SagaState
from catga_core.sagas.types import saga_type
from catga_testing.sagas.determinism import DeterminismRules, deterministic_sagas
from catga_testing.sagas.faults import Fault, is_scenario
from catga_testing.sagas.observing import observed_class
from catga_testing.sagas.process import Kind
from catga_testing.sagas.report import ExplorationReport, FailingRun
from catga_testing.sagas.running import OneRun, Ran, Subject
from catga_testing.sagas.virtual_time import run_virtually

W = TypeVar("W")
D = TypeVar("D")
R = TypeVar("R")

_DAY = 86_400.0
_MOST_FAILURES = 25


def explore_crashes(
    saga: type[Saga[D, R]],
    data: D,
    *,
    world: Callable[[], W],
    invariant: Callable[[W, SagaResult[R]], object],
    sagas: Sequence[type[Saga[Any, Any]]] = (),
    transaction_id: str = "tx-1",
    faults: int = 2,
    max_runs: int = 20_000,
    options: SagaOptions | None = None,
    ends: SagaState | None = SagaState.COMPLETED,
    cancel: bool = False,
    check: bool = True,
) -> ExplorationReport:
    """Explore a saga with crashes, failing steps and unreliable deliveries.

    Each run has a fresh world, a fresh store in memory and virtual time, and the real executor, journal and recovery worker. A fault
    is one of these: the process dies after a journal write or an effect, and another process takes over when the lease has run
    out; a step or a compensation fails once, or has its effect although its response is lost; a command or an event is delivered
    twice, or late. Faults are injected alone, then in combinations of up to `faults`, and again with each step failing permanently.
    A crash before a write or an effect is equivalent to a crash after the preceding one.

    The exploration stops at the smallest number of faults with a failing run, so that the shortest failing history is found.

    Args:
        saga: The saga's class. A parameter of its constructor receives the attribute of the world with its name or its type.
        data: Its data.
        world: Creates a fresh world, usually a class derived from `SagaWorld`.
        invariant: Called with the world and the result at the end of each run; raises, or returns `False`, if it does not
            hold. May be asynchronous.
        sagas: The classes of its child sagas.
        transaction_id: Its transaction id.
        faults: The most faults injected in one run, in addition to a step that fails permanently.
        max_runs: The most runs.
        options: The options of sagas; default: `SagaOptions()`.
        ends: The expected state after a run without faults; `None` for any final state.
        cancel: Whether the saga is also cancelled at every point, as one of the faults.
        check: Whether to raise an error if a run fails.

    Returns:
        The report: runs, points, failures, the shortest failing history.

    Raises:
        ExplorationError: A run failed; its text has the shortest failing history as a timeline.
        ConfigurationError: The class is not a saga, or the world has no attribute for a parameter of its constructor.
    """
    check_count("faults", faults, least=0)
    check_count("max_runs", max_runs)
    names = caller_locals()
    kinds: dict[tuple[str, int], Kind] = {}
    for each in (saga, *sagas):
        type_ = saga_type(each, names)
        kinds[type_.name, type_.version] = Kind(type_, observed_class(each))
    given = options or SagaOptions()
    subject = Subject(
        transaction_id, data, kinds, world, invariant, _at_rest(given, _DAY), 1000 * _DAY, ends, cancel
    )

    began = time.perf_counter()
    with without_log(), deterministic_sagas(check=False) as rules:
        exploration = _Exploration(subject, given, faults, max_runs, rules)
        report = run_virtually(exploration.explore)
    report = msgspec.structs.replace(report, seconds=time.perf_counter() - began)
    if check:
        report.raise_on_failure()
    return report


class _Exploration:
    def __init__(
        self, subject: Subject, options: SagaOptions, faults: int, max_runs: int, rules: DeterminismRules
    ) -> None:
        self._subject = subject
        self._options = options
        self._faults = faults
        self._max_runs = max_runs
        self._rules = rules
        self._runs = 0
        self._points = 0
        self._failures: list[Ran] = []

    async def explore(self) -> ExplorationReport:
        """Run level by level: no fault, one, two."""
        first = await self._run(())
        if not self._failures:
            # Every wait is short compared to the lease; the lease can be long, because virtual time is free.
            lease = max(self._options.lease_seconds, first.seconds / 50)
            within = max(_DAY, 20 * first.seconds)
            self._subject = msgspec.structs.replace(
                self._subject, options=_at_rest(self._options, lease), within=within
            )
        level = [first]
        while level and not self._failures and self._runs < self._max_runs:
            level = await self._next_level(level)
        return ExplorationReport(
            self._runs,
            self._points,
            [FailingRun(each.problem or "", each.faults, each.moments) for each in self._failures],
            complete=not level,
        )

    async def _next_level(self, level: Sequence[Ran]) -> list[Ran]:
        found: list[Ran] = []
        for before in level:
            for fault in before.further:
                plan = (*before.faults, fault)
                if not self._fits(plan):
                    continue
                if self._runs >= self._max_runs or len(self._failures) >= _MOST_FAILURES:
                    return [*found, before]
                found.append(await self._run(plan))
        return found

    def _fits(self, plan: Sequence[Fault]) -> bool:
        scenarios = sum(map(is_scenario, plan))
        return scenarios <= 1 and len(plan) - scenarios <= self._faults

    async def _run(self, plan: tuple[Fault, ...]) -> Ran:
        self._rules.violations.clear()
        ran = await OneRun(self._subject, plan).run()
        if self._rules.violations:
            ran = msgspec.structs.replace(ran, problem=str(self._rules.violations[0]))
        self._runs += 1
        if not plan:
            self._points = ran.points
        if ran.problem is not None:
            self._failures.append(ran)
        return ran


def _at_rest(options: SagaOptions, lease: float) -> SagaOptions:
    return msgspec.structs.replace(options, lease_seconds=lease, poll_seconds=lease)


@contextmanager
def without_log() -> Generator[None]:
    """Suppress log lines; the timeline shows a failed run."""

    def write(*_: object) -> None:
        return

    with patch.object(SafeLogger, "_write", write):
        yield
