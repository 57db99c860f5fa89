"""`given_saga(journal).when_resumed().then_steps(...)`: tests of what a saga does after a crash, which read as sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

from catga_core import Event
from catga_core.errors import CatgaError, ConfigurationError
from catga_core.interfaces.saga_records import SagaState, SavedSaga
from catga_core.memory.engine.sagas import Sagas
from catga_core.sagas import Saga, SagaOptions, SagaResult
from catga_core.sagas.history import History
from catga_core.sagas.types import saga_type
from catga_testing.sagas.determinism import DeterminismRules, deterministic_sagas
from catga_testing.sagas.exploring import without_log
from catga_testing.sagas.journals import SagaJournal
from catga_testing.sagas.observing import observed_class
from catga_testing.sagas.process import Kind, Process
from catga_testing.sagas.running import OneRun, Subject
from catga_testing.sagas.timeline import drawn
from catga_testing.sagas.virtual_time import run_virtually
from catga_testing.sagas.world import SagaWorld

_LEASE = 30.0
_MOST_SECONDS = 10 * 366 * 86_400.0
_ANY: Any = object()


def given_saga(
    journal: SagaJournal | bytes,
    saga: type[Saga[Any, Any]],
    *,
    world: object | None = None,
    sagas: Sequence[type[Saga[Any, Any]]] = (),
) -> GivenSaga:
    """Start a test of a saga that is resumed from a journal.

    ```python
    journal = SagaJournal.of(OrderSaga, order).step("charge", Payment("p-1", 12))

    given_saga(journal, OrderSaga, world=Shop()).when_resumed().then_steps("reserve", "ship").then_completed()
    ```

    Args:
        journal: What was recorded: written down with `SagaJournal.of(...)`, or exported with `export_journals`.
        saga: Its class, as it is today.
        world: The services that its constructor takes, and the handlers of its commands; default: none.
        sagas: Further sagas that it runs as children.
    """
    given = SagaJournal.from_bytes(journal) if isinstance(journal, bytes) else journal
    return GivenSaga(given, [saga, *sagas], SagaWorld() if world is None else world)


class GivenSaga:
    """The journal of a saga whose process died.

    Args:
        journal: The journal.
        sagas: The saga's class, and those of its children.
        world: The services around it.
    """

    def __init__(self, journal: SagaJournal, sagas: Sequence[type[Saga[Any, Any]]], world: object) -> None:
        self._journal = journal
        self._sagas = sagas
        self._world = world

    def when_resumed(self, *events: Event) -> ThenSaga:
        """Resume the saga in virtual time until it ends, is parked or waits.

        Args:
            events: Events that arrive when it is resumed.

        Raises:
            ConfigurationError: It has ended before, or its class has another name or version.
            NonDeterministicSagaError: Its code calls something that differs each time.
        """
        record = self._journal.record
        if record.state.is_final:
            msg = f"The saga {record.saga.transaction_id!r} has ended as {record.state.value}. Pass the journal of a running saga."
            raise ConfigurationError(msg)
        kinds: dict[tuple[str, int], Kind] = {}
        for each in self._sagas:
            type_ = saga_type(each, {})
            kinds[type_.name, type_.version] = Kind(type_, observed_class(each))
        if (record.saga.name, record.saga.version) not in kinds:
            known = ", ".join(f"{name!r} v{version}" for name, version in kinds)
            msg = f"The journal is of {record.saga.name!r} v{record.saga.version}, and the classes are {known}. Pass its class."
            raise ConfigurationError(msg)
        options = SagaOptions(lease_seconds=_LEASE, poll_seconds=_LEASE)
        subject = Subject(
            record.saga.transaction_id,
            None,
            kinds,
            lambda: self._world,
            lambda _world, _result: None,
            options,
            _MOST_SECONDS,
            None,
        )

        async def resume() -> ThenSaga:
            return await _Resumed(subject, self._journal, events).resume(rules)

        with without_log(), deterministic_sagas() as rules:
            return run_virtually(resume)


class _Resumed(OneRun):
    def __init__(self, subject: Subject, journal: SagaJournal, events: Sequence[Event]) -> None:
        super().__init__(subject, ())
        self._journal = journal
        self._events = events
        self._saved: SavedSaga | None = None

    async def resume(self, rules: DeterminismRules) -> ThenSaga:
        ran = await self.run()
        if rules.violations:
            raise rules.violations[0]
        saved = await self._store.read(self._subject.transaction_id)
        assert saved is not None
        steps = [name for name, undoes in self.trial.ran.values() if not undoes]
        undone = [name for name, undoes in self.trial.ran.values() if undoes]
        return ThenSaga(self._world, self._result_of(saved), steps, undone, drawn(ran.moments))

    async def _start(self, process: Process) -> None:
        del process  # whichever process takes it over
        record, entries = self._journal.record, self._journal.entries
        received = History(entries).positions.values()
        # Events that arrive from now on follow those that the saga has received.
        self._storage.part(Sagas).position = max(received, default=0)
        begun = await self._store.begin(record.saga, lease=_LEASE)
        assert begun.claim is not None
        await self._store.append(begun.claim, entries, after=0, state=record.state)
        for event in self._events:
            self._deliveries.publish(event)

    async def _check(self) -> str | None:
        return None


class ThenSaga:
    """The outcome of a resumed saga.

    Args:
        world: The services around it.
        result: What it ended with; its state is not final where it waits or is parked.
        steps: The steps that ran, in the order in which they began.
        compensated: The compensations that ran, in the order in which they began.
        timeline: What happened, as text.
    """

    def __init__(
        self,
        world: object,
        result: SagaResult[Any],
        steps: Sequence[str],
        compensated: Sequence[str],
        timeline: str,
    ) -> None:
        self.world: object = world
        self.result: SagaResult[Any] = result
        self.steps: Sequence[str] = steps
        self.compensated: Sequence[str] = compensated
        self.timeline: str = timeline

    def then_steps(self, *names: str) -> Self:
        """Expect exactly these steps after the resumption.

        Args:
            names: The names of the steps, in the order in which they began.

        Raises:
            AssertionError: Others ran.
        """
        return self._expect("the steps", list(names), list(self.steps))

    def then_compensated(self, *names: str) -> Self:
        """Expect exactly these compensations after the resumption.

        Args:
            names: The names of the steps, in the order in which their compensations began; `compensate` for the saga's own.

        Raises:
            AssertionError: Others ran.
        """
        return self._expect("the compensations", list(names), list(self.compensated))

    def then_completed(self, value: Any = _ANY) -> Self:
        """Expect that the saga completed.

        Args:
            value: What `execute` returned; left out, anything.

        Raises:
            AssertionError: It ended otherwise.
        """
        self._expect("the state", SagaState.COMPLETED, self.result.state)
        return self if value is _ANY else self._expect("the result", value, self.result.returned)

    def then_failed(self, *, code: str | None = None, match: str | None = None) -> Self:
        """Expect that the saga failed and was compensated.

        Args:
            code: The code of its error, `None` for any.
            match: A regular expression that the text of its error contains, `None` for any.

        Raises:
            AssertionError: It ended otherwise.
        """
        self._expect("the state", SagaState.COMPENSATED, self.result.state)
        return self._expect_error(code, match)

    def then_parked(self, *, code: str | None = None, match: str | None = None) -> Self:
        """Expect that the saga was parked, such as with `SAGA_CHANGED`.

        Args:
            code: The code of its problem, `None` for any.
            match: A regular expression that the text of its problem contains, `None` for any.

        Raises:
            AssertionError: It was not parked.
        """
        if self.result.state.is_final or self.result.error is None:
            self._fail("a parked saga", self.result.state.value)
        return self._expect_error(code, match)

    def then_waits(self) -> Self:
        """Expect that the saga waits for an event.

        Raises:
            AssertionError: It ended, or was parked.
        """
        return self._expect("the state", SagaState.WAITING, self.result.state)

    # --- parts ---

    def _expect(self, what: str, expected: object, found: object) -> Self:
        if expected != found:
            self._fail(f"{what} {_shown(expected)}", f"{what} were {_shown(found)}")
        return self

    def _expect_error(self, code: str | None, match: str | None) -> Self:
        error: CatgaError | None = self.result.error
        if code is not None and (error is None or error.code != code):
            self._fail(f"the code {code}", str(error))
        if match is not None and not re.search(match, str(error)):
            self._fail(f"a text with {match!r}", str(error))
        return self

    def _fail(self, expected: str, found: str) -> None:
        msg = f"expected {expected}\nand {found}\n{self.timeline}"
        if self.result.error is not None:
            msg += f"\n  {self.result.error}"
        raise AssertionError(msg)


def _shown(value: object) -> str:
    return value.value if isinstance(value, SagaState) else repr(value)
