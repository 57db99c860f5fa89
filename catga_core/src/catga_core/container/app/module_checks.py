"""Checks of modules: what is one, and whether their needs are met."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from catga_core.container.di.parameters import parameters_of
from catga_core.container.di.registration import SourceKind, how_registered
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import class_of, shown, with_place


class ModuleBase(ABC):
    """The base of modules, as the container sees them; derive from `Module`."""

    needs: ClassVar[Sequence[type[Any]]] = ()

    @abstractmethod
    # Any: the container is typed by modules, which `Module` narrows.
    def register(self, catga: Any) -> None:
        """Register everything of this module."""


def module_of(given: type[ModuleBase] | ModuleBase, added: Sequence[ModuleBase]) -> ModuleBase:
    """Return the module to register.

    Args:
        given: A class derived from `Module`, or an object of one.
        added: Those that are there.

    Raises:
        ConfigurationError: It is not a module, cannot be created, or was added already.
    """
    cls: type[Any] = given if isinstance(given, type) else class_of(given)
    named = with_place(cls.__name__, cls)
    if not issubclass(cls, ModuleBase):
        msg = f"{named} is not a module. Derive it from Module."
        raise ConfigurationError(msg)
    if getattr(cls, "__abstractmethods__", None):
        msg = f"{named} has no register method. Implement def register(self, catga)."
        raise ConfigurationError(msg)
    if any(type(known) is cls for known in added):
        msg = f"{named} is already added. Remove the duplicate."
        raise ConfigurationError(msg)
    if not isinstance(given, type):
        return given
    open_ones = [each.name for each in parameters_of(cls, SourceKind.CLASS, {}) if not each.optional]
    if open_ones:
        msg = f"{named} requires the arguments {', '.join(open_ones)}. Pass an object: add_module({cls.__name__}(...))."
        raise ConfigurationError(msg)
    return cls()


def check_modules(modules: Sequence[ModuleBase], is_provided: Callable[[Any], bool]) -> list[str]:
    """Return every unmet need and every ring of modules.

    Args:
        modules: Those that were added.
        is_provided: Tells whether there is a service of a type.
    """
    added = {type(module): module for module in modules}
    problems: dict[str, None] = {}
    for module in modules:
        needs: Sequence[Any] = module.needs
        for need in needs:
            if isinstance(need, type) and issubclass(need, ModuleBase):
                if need not in added:
                    problems[
                        f"{type(module).__name__} needs {need.__name__}, which is not added. "
                        f"Call add_module(catga, {need.__name__})."
                    ] = None
            elif not is_provided(need):
                problems[
                    f"{type(module).__name__} needs {shown(need)}, which is not registered. "
                    f"{how_registered(need)}, or add the module that registers {shown(need)}."
                ] = None
    _rings(added, problems)
    return list(problems)


def _rings(added: dict[type[ModuleBase], ModuleBase], problems: dict[str, None]) -> None:
    def visit(module: type[ModuleBase], path: list[type[ModuleBase]]) -> None:
        if module in path:
            ring = [step.__name__ for step in path[path.index(module) :]]
            turn = ring.index(min(ring))
            ring = ring[turn:] + ring[:turn]
            problems[
                f"{ring[0]} needs itself: {' -> '.join([*ring, ring[0]])}. "
                "Move the shared services into a third module."
            ] = None
            return
        for need in added[module].needs:
            if need in added:
                visit(need, [*path, module])

    for module in added:
        visit(module, [])
