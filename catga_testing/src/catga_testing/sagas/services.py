"""The services that a saga is given: proxies that note each call, and let the process crash after it."""

from __future__ import annotations

import inspect
from asyncio import sleep
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, get_type_hints

from catga_core import CatgaMediator, Clock
from catga_core.errors import ConfigurationError
from catga_testing.sagas.timeline import brief
from catga_testing.sagas.trial import CrashedError, Life, Trial, injected_error, running_step

LATENCY = 0.001
"""Virtual seconds to and from a service."""


class Proxied:
    """A service as one process sees it.

    Args:
        inner: The service.
        name: Its name, for timelines.
        trial: The run.
        life: The process.
    """

    def __init__(self, inner: Any, name: str, trial: Trial, life: Life) -> None:
        self._catga_inner = inner
        self._catga_name = name
        self._catga_trial = trial
        self._catga_life = life

    @property  # type: ignore[misc]  # isinstance() asks for it
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # nothing sets it
        return self._catga_inner.__class__

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._catga_inner, name)
        if not callable(found) or isinstance(found, type):
            return found
        return _noted(found, f"{self._catga_name}.{name}", self._catga_trial, self._catga_life)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the service, where it is a function."""
        return _noted(self._catga_inner, self._catga_name, self._catga_trial, self._catga_life)(
            *args, **options
        )


def _noted(call: Callable[..., Any], name: str, trial: Trial, life: Life) -> Callable[..., Any]:
    def noted(*args: Any, **options: Any) -> Any:
        life.check()
        given = [brief(each, 40) for each in args]
        given += [f"{key}={brief(value, 40)}" for key, value in options.items()]
        text = f"{name}({', '.join(given)})"
        step = running_step.get()
        fault = None if step is None else trial.call_fault(step, name)
        if fault is not None:
            trial.note(life.number, f"{text} {fault.value}", injected=True)
            raise injected_error(fault)
        try:
            found = call(*args, **options)
        except Exception as error:
            trial.note(life.number, f"{text} raises {brief(error)}")
            raise
        if inspect.isawaitable(found):
            return _awaited(found, text, trial, life)
        trial.note(life.number, f"{text} -> {brief(found, 40)}")
        trial.changed(life, text)
        return found

    return noted


async def _awaited(work: Awaitable[Any], text: str, trial: Trial, life: Life) -> Any:
    if life.dead:
        getattr(work, "close", lambda: None)()
        raise CrashedError
    try:
        # As over a network, so that branches overlap.
        await sleep(LATENCY)
        found = await work
    except Exception as error:
        trial.note(life.number, f"{text} raises {brief(error)}")
        raise
    trial.note(life.number, f"{text} -> {brief(found, 40)}")
    trial.changed(life, text)
    await sleep(LATENCY)
    return found


def arguments_of(
    cls: type[Any],
    services: Mapping[str, object],
    *,
    mediator: object,
    clock: object,
    given: Callable[[object, str], object],
) -> dict[str, object]:
    """Return the arguments of a saga's constructor.

    Args:
        cls: The saga's class.
        services: What the world offers, by name.
        mediator: For a parameter of the type `CatgaMediator`.
        clock: For a parameter of the type `Clock`.
        given: Returns what is given in the place of a service.

    Raises:
        ConfigurationError: The world has nothing for a parameter.
    """
    found: dict[str, object] = {}
    of: Any = cls
    for parameter, type_ in _parameters_of(of):
        name = parameter.name
        if type_ is CatgaMediator or (name == "mediator" and name not in services):
            found[name] = mediator
        elif type_ is Clock or (name == "clock" and name not in services):
            found[name] = clock
        elif name in services:
            found[name] = given(services[name], name)
        elif len(matching := [key for key, value in services.items() if _is(value, type_)]) == 1:
            found[name] = given(services[matching[0]], matching[0])
        elif parameter.default is parameter.empty:
            msg = (
                f"{cls.__name__}.__init__ has the parameter {name!r}, and the world has no attribute of that name and not exactly one of its "
                f"type; it has {', '.join(sorted(services)) or 'none'}. Add one to the world."
            )
            raise ConfigurationError(msg)
    return found


@lru_cache(maxsize=256)
def _parameters_of(cls: Any) -> list[tuple[inspect.Parameter, Any]]:
    init = cls.__init__
    if init is object.__init__:
        return []
    try:
        hints = get_type_hints(init)
    except NameError:
        # Of a class in a function: its names still say which services are meant.
        hints = {}
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    parameters = list(inspect.signature(init).parameters.values())[1:]
    return [(each, hints.get(each.name)) for each in parameters if each.kind not in variable]


def _is(value: object, type_: Any) -> bool:
    try:
        return isinstance(value, type_)
    except TypeError:
        # Not a class, or a protocol that cannot be looked for.
        return False
