"""A state machine of hypothesis: several clients work at once, and a model has to explain what they saw."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from catga_core import CatgaError, Clock
from catga_core.interfaces import Storage, Stores
from catga_testing import ManualClock
from catga_testing.contracts.limits import PATIENCE
from tests.contracts.stores_model.calls import Answer, Call, Kept, Outcome, Work
from tests.contracts.stores_model.histories import explained, seen

NewPlace = Callable[[], Callable[[Clock], Stores]]
"""Returns, for a place that is new and empty, what makes one more set of stores over it."""

CLIENTS = 3
"""How many use the store."""

WORKS = 5
"""How many works they have at once at most; each client does its own one after another."""


class NothingKeptError(Exception):
    """Nothing was given so far that a call could be about."""


class RolledBackError(Exception):
    """Raised in a unit of work that is not to be committed."""


def run_against_model(
    model: type[Any], new_place: NewPlace, *, examples: int, steps: int, always_the_same: bool = False
) -> None:
    """Have clients use a store at random, and compare what they see with a model.

    Parameters:
        model: the store's.
        new_place: makes a place for each example.
        examples: how many runs.
        steps: how many batches of work a run has at most.
        always_the_same: whether to make the same runs each time, and to stop at the first that fails.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=always_the_same,
        phases=[Phase.generate] if always_the_same else [Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(_machine(model, new_place), settings=chosen)


def _machine(model: type[Any], new_place: NewPlace) -> type[RuleBasedStateMachine]:
    immediate = new_place()(ManualClock()).storage.capabilities.immediate

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.clock = ManualClock()
            self.models = [model()]
            self.models[0].now = self.clock.time()
            self.kept: list[Any] = []
            self.told: list[str] = []
            make = new_place()
            self.clients = [make(self.clock) for _ in range(CLIENTS)]
            self.runner.run(self.started())

        @rule(works=st.lists(_works(model), min_size=1, max_size=WORKS))
        def work_at_once(self, works: list[Work]) -> None:
            outcomes, looks = self.runner.run(self.worked(works))
            self.told += [f"at once: {len(works)}", *(str(each) for several in outcomes for each in several)]
            self.told += [f"then: {call} -> {answer}" for call, answer in looks]
            after = explained(self.models, outcomes, immediate=immediate)
            assert after, self.report("no order of these explains what the clients saw")
            self.models = seen(after, looks)
            assert self.models, self.report("what the clients saw is explained, but not what is there now")

        @rule(seconds=st.sampled_from([0.5, 4.0, 11.0]))
        def time_passes(self, seconds: float) -> None:
            self.clock.advance(seconds)
            self.told.append(f"{seconds} seconds pass")
            for each in self.models:
                each.now = self.clock.time()

        def teardown(self) -> None:
            try:
                self.runner.run(self.stopped())
            finally:
                self.runner.close()

        async def started(self) -> None:
            for storage in self.storages():
                await storage.start()

        async def stopped(self) -> None:
            for storage in self.storages():
                await storage.stop()

        def storages(self) -> list[Storage]:
            """Return each storage once: clients may share one, as they do in one process."""
            return list(dict.fromkeys(each.storage for each in self.clients))

        async def worked(self, works: list[Work]) -> tuple[list[list[Outcome]], list[tuple[Call, Answer]]]:
            """Have clients work at once, and then one of them look at all there is."""
            prepared = [outcome for outcome in map(self.prepared, works) if outcome is not None]
            outcomes = [
                [each for each in prepared if each.work.client == client] for client in range(CLIENTS)
            ]
            async with asyncio.timeout(PATIENCE):
                tasks = [asyncio.create_task(self.work(several), context=Context()) for several in outcomes]
                await asyncio.gather(*tasks)
                looks = [(call, await self.call(self.clients[0], call)) for call in model.looks()]
            for each in prepared:
                if each.code is None and each.work.commits:
                    for call, answer in zip(each.calls, each.answers, strict=True):
                        self.kept += model.kept(call, answer)
            return outcomes, looks

        def prepared(self, work: Work) -> Outcome | None:
            """Return an outcome with the calls as they are to be made, `None` when they are about what is not there yet."""
            try:
                calls = [
                    Call(each.method, tuple(map(self.argument, each.arguments)), each.options)
                    for each in work.calls
                ]
            except NothingKeptError:
                return None
            return Outcome(work, calls, [])

        def argument(self, given: Any) -> Any:
            if isinstance(given, list):
                return [self.argument(each) for each in given]
            if not isinstance(given, Kept):
                return model.prepared(given)
            if not self.kept:
                raise NothingKeptError
            # The latest are of most interest.
            found = self.kept[-1 - given.number % len(self.kept)]
            return model.changed(found) if given.changed else found

        async def work(self, outcomes: list[Outcome]) -> None:
            for each in outcomes:
                await _turns(each.work.delay)
                await self.do(each)

        async def do(self, outcome: Outcome) -> None:
            work, stores = outcome.work, self.clients[outcome.work.client]
            if not work.unit:
                outcome.answers.append(await self.call(stores, outcome.calls[0]))
                return
            try:
                async with stores.storage.unit_of_work():
                    for call in outcome.calls:
                        await self.call_in_unit(stores, call, outcome)
                        await _turns(work.delay)
                    if not work.commits:
                        raise RolledBackError
            except RolledBackError:
                return
            except CatgaError as error:
                outcome.code = error.code

        async def call_in_unit(self, stores: Stores, call: Call, outcome: Outcome) -> None:
            """Make a call; its error is the unit of work's."""
            answer = Answer(known=immediate)
            try:
                answer.value = await self.method(stores, call)
            except CatgaError as error:
                answer.code = error.code
                raise
            finally:
                outcome.answers.append(answer)

        async def call(self, stores: Stores, call: Call) -> Answer:
            try:
                return Answer(await self.method(stores, call))
            except CatgaError as error:
                return Answer(code=error.code)

        async def method(self, stores: Stores, call: Call) -> Any:
            return await getattr(stores[model.port], call.method)(*call.arguments, **call.options)

        def report(self, what: str) -> str:
            return "\n".join([f"{model.__name__}: {what}:", *self.told])

    return Machine


def _works(model: type[Any]) -> st.SearchStrategy[Work]:
    client, delay = st.integers(0, CLIENTS - 1), st.integers(0, 3)
    alone = st.builds(Work, client, delay, st.lists(model.calls(), min_size=1, max_size=1))
    joining = model.joining()
    if joining is None:
        return alone
    several = st.lists(joining, min_size=1, max_size=3)
    unit = st.builds(Work, client, delay, several, unit=st.just(value=True), commits=st.booleans())
    return st.one_of(alone, unit)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
