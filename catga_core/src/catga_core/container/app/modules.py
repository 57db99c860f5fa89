"""Modules: a part of an application that registers itself in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from catga_core.container.di.registration import SourceKind, how_registered, parameters_of
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import class_of, shown, with_place

if TYPE_CHECKING:
    from catga_core.container.app.container import CatgaContainer


class Module(ABC):
    """Registers a part's services, handlers and behaviors, and says what it needs from others.

    Derive from it, list in `needs` the service types and module classes that others must provide, and add it with
    `add_module(catga, OrderModule)`. Needs are checked when the container starts.
    """

    needs: ClassVar[Sequence[type[Any]]] = ()

    @abstractmethod
    def register(self, catga: CatgaContainer) -> None:
        """Register everything of this module.

        Parameters:
            catga: the container to fill.
        """


def module_of(given: type[Module] | Module, added: Sequence[Module]) -> Module:
    """Return the module to register.

    Parameters:
        given: a class derived from `Module`, or an object of one.
        added: those that are there.

    Raises:
        ConfigurationError: when it is no module, cannot be made, or was added already.
    """
    cls: type[Any] = given if isinstance(given, type) else class_of(given)
    named = with_place(cls.__name__, cls)
    if not issubclass(cls, Module):
        msg = f"{named} is no module: derive it from Module"
        raise ConfigurationError(msg)
    if getattr(cls, "__abstractmethods__", None):
        msg = f"{named} does not say what it registers: write def register(self, catga)"
        raise ConfigurationError(msg)
    if any(type(known) is cls for known in added):
        msg = f"{named} was added twice: take one away"
        raise ConfigurationError(msg)
    if not isinstance(given, type):
        return given
    open_ones = [each.name for each in parameters_of(cls, SourceKind.CLASS, {}) if not each.optional]
    if open_ones:
        msg = f"{named} needs {', '.join(open_ones)} to be made: add an object of it, add_module({cls.__name__}(...))"
        raise ConfigurationError(msg)
    return cls()


def check_modules(modules: Sequence[Module], is_provided: Callable[[Any], bool]) -> list[str]:
    """Return every unmet need and every ring of modules.

    Parameters:
        modules: those that were added.
        is_provided: tells whether there is a service of a type.
    """
    added = {type(module): module for module in modules}
    problems: dict[str, None] = {}
    for module in modules:
        needs: Sequence[Any] = module.needs
        for need in needs:
            if isinstance(need, type) and issubclass(need, Module):
                if need not in added:
                    problems[
                        f"{type(module).__name__} needs {need.__name__}, which was not added: "
                        f"call add_module(catga, {need.__name__})"
                    ] = None
            elif not is_provided(need):
                problems[
                    f"{type(module).__name__} needs {shown(need)}, which no module provides: "
                    f"add the module that registers {shown(need)}, or {how_registered(need)}"
                ] = None
    _rings(added, problems)
    return list(problems)


def _rings(added: dict[type[Module], Module], problems: dict[str, None]) -> None:
    def visit(module: type[Module], path: list[type[Module]]) -> None:
        if module in path:
            ring = [step.__name__ for step in path[path.index(module) :]]
            turn = ring.index(min(ring))
            ring = ring[turn:] + ring[:turn]
            problems[
                f"{ring[0]} needs itself: {' -> '.join([*ring, ring[0]])}: "
                "move what both need into a module of its own"
            ] = None
            return
        for need in added[module].needs:
            if need in added:
                visit(need, [*path, module])

    for module in added:
        visit(module, [])
