"""`deterministic_sagas`: rejects non-deterministic code of sagas in tests."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

from catga_core.sagas import Saga
from catga_testing.sagas.code_zone import in_code_of_saga, outside, watch_contexts
from catga_testing.sagas.dates import GuardedModule, guarded_date, guarded_datetime
from catga_testing.sagas.guards import REFUSED


class NonDeterministicSagaError(AssertionError):
    """The code of a saga made a non-deterministic call between its steps.

    Args:
        called: What was called.
        instead: What to use instead.
    """

    def __init__(self, called: str, instead: str) -> None:
        super().__init__(
            f"The code of a saga called {called} outside of a step. After a crash the code runs again, and the call would return another "
            f"result or repeat its effect. Use {instead}."
        )
        self.called: str = called
        self.instead: str = instead


class DeterminismRules:
    """The violations that `deterministic_sagas` found, in order."""

    def __init__(self) -> None:
        self.violations: list[NonDeterministicSagaError] = []


_active: list[DeterminismRules] = []


@contextmanager
def deterministic_sagas(*modules: ModuleType, check: bool = True) -> Generator[DeterminismRules]:
    """Reject non-deterministic calls between the steps of sagas.

    That is time, random numbers and ids of the system, sleeping, starting tasks, and I/O: `time`, `datetime.now()`, `random`,
    `secrets`, `uuid.uuid4()`, `asyncio.sleep()`, `asyncio.create_task()`, `asyncio.timeout()`, threads, sockets, files, SQLite,
    subprocesses. Within steps and compensations, and in methods of the context, all of it is allowed; so it is in log calls of
    `logging` and `structlog`. The functions are patched while the block runs, in this process only; production code is never
    changed.

    Not caught: `datetime.now()` called by a module other than those of the sagas and `modules`, because the class itself cannot be
    patched, and only its name in a module is; a function that another module imported by its name, such as `from time import time`;
    `asyncio.Task(...)` made directly; extensions written in C that ask the system themselves, such as database drivers; the
    environment, the order of a `set`, and global variables. `explore_crashes` finds most of these by their consequences.

    Args:
        modules: Modules that the sagas' code calls and that use `datetime` or functions imported by name; the modules of all
            classes derived from `Saga` are included.
        check: Whether to raise the first violation at the end of the block, also where the code of the saga swallowed it.

    Yields:
        The violations so far.

    Raises:
        NonDeterministicSagaError: Something was refused.
    """
    rules = DeterminismRules()
    with ExitStack() as stack:
        if not _active:
            _patch_all(stack, modules)
        _active.append(rules)
        stack.callback(_active.remove, rules)
        yield rules
    if check and rules.violations:
        raise rules.violations[0]


def _check(called: str, instead: str = "saga.now()") -> None:
    if _active and in_code_of_saga():
        error = NonDeterministicSagaError(called, instead)
        _active[-1].violations.append(error)
        raise error


def _patch_all(stack: ExitStack, modules: Iterable[ModuleType]) -> None:
    watch_contexts(stack)
    stack.enter_context(patch.object(logging.Logger, "handle", outside(logging.Logger.handle)))
    stack.enter_context(patch.object(logging.Logger, "makeRecord", outside(logging.Logger.makeRecord)))
    _patch_structlog(stack)
    checked: dict[int, Any] = {}
    for (owner, name), instead in REFUSED.items():
        original = getattr(owner, name)
        shown = f"{owner.__name__.removeprefix('builtins')}.{name}()".removeprefix(".")
        checked[id(original)] = guard = _guard(original, shown, instead)
        if not isinstance(original, type):
            stack.enter_context(patch.object(owner, name, guard))
        else:
            init = vars(original)["__init__"]
            stack.enter_context(patch.object(original, "__init__", _guard(init, shown, instead)))
            del checked[id(original)]
    date, moment = guarded_date(_check), guarded_datetime(_check)
    checked[id(dt.date)] = date
    checked[id(dt.datetime)] = moment
    checked[id(dt)] = GuardedModule({"date": date, "datetime": moment})
    for module in {*_modules_of_sagas(), *modules}:
        for name, value in list(vars(module).items()):
            if (stand_in := checked.get(id(value))) is not None:
                stack.enter_context(patch.object(module, name, stand_in))


def _patch_structlog(stack: ExitStack) -> None:
    import structlog

    base, name = structlog.BoundLoggerBase, "_proxy_to_logger"
    stack.enter_context(patch.object(base, name, outside(getattr(base, name))))


def _guard(original: Callable[..., Any], called: str, instead: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            _check(called, instead)
        except NonDeterministicSagaError:
            for each in args:
                if inspect.iscoroutine(each):
                    each.close()
            raise
        return original(*args, **options)

    return guarded


def _modules_of_sagas() -> set[ModuleType]:
    found: set[ModuleType] = set()
    classes: list[Any] = [*Saga.__subclasses__()]
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        module = sys.modules.get(cls.__module__)
        if module is not None:
            found.add(module)
    return found
