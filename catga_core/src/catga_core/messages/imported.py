"""Find the message classes of this process by wire name and version."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any
from weakref import ref

from catga_core.messages.class_changes import class_changes
from catga_core.messages.types import Command, Event, Message, Query, Request, StreamQuery, wire_name

_KINDS = frozenset({Request, Command, Query, StreamQuery, Event})


class ImportedClasses:
    """An index of every message class that exists in this process.

    The classes are held weakly: a class that was garbage-collected is not found. The index is built by one walk over
    all subclasses of `Message`, at the first look-up after a class was defined or renamed.
    """

    __slots__ = ("_collected", "_index")

    def __init__(self) -> None:
        self._index: tuple[int, dict[tuple[str, int], list[ref[type[Message]]]]] = (-1, {})
        self._collected = -1

    def named(self, name: str, version: int, base: type[Message]) -> list[type[Message]]:
        """Return the classes of one wire name and version, in the order of their definition.

        A module-level class that was defined again (a reloaded module, a notebook cell) replaces its predecessor.

        Args:
            name: The wire name.
            version: The version.
            base: The classes to consider: those derived from it.
        """
        found = self._named(name, version, base)
        if len(found) > 1 and self._collected != class_changes.count:
            # A class that nothing uses any more stays until the next garbage collection, because a class refers to
            # itself: one that a decorator replaced, or a function defined. It must not make a name ambiguous.
            self._collected = class_changes.count
            found.clear()
            gc.collect()
            found = self._named(name, version, base)
        return found

    def versions(self, name: str, base: type[Message]) -> list[int]:
        """Return the versions of one wire name, ascending.

        Args:
            name: The wire name.
            base: The classes to consider: those derived from it.
        """
        return sorted(
            version
            for known, version in list(self._current())
            if known == name and self._named(name, version, base)
        )

    # --- inside ---

    def _named(self, name: str, version: int, base: type[Message]) -> list[type[Message]]:
        alive = [cls for each in self._current().get((name, version), ()) if (cls := each()) is not None]
        found = [cls for cls in alive if issubclass(cls, base)]
        return [cls for cls in found if not _replaced(cls, found)] if len(found) > 1 else found

    def _current(self) -> dict[tuple[str, int], list[ref[type[Message]]]]:
        count, index = self._index
        if count != class_changes.count:
            # Read first: what is defined during the walk is found by the next one.
            count = class_changes.count
            index = dict[tuple[str, int], list[ref[type[Message]]]]()
            for cls in _derived(Message):
                index.setdefault(wire_name(cls), []).append(ref(cls))
            self._index = count, index
        return index


imported_classes: ImportedClasses = ImportedClasses()


def _derived(base: type[Message]) -> Iterator[type[Message]]:
    seen: set[type[Message]] = set()
    pending = [base]
    while pending:
        for cls in pending.pop(0).__subclasses__():
            if cls not in seen:
                seen.add(cls)
                pending.append(cls)
                if cls not in _KINDS:
                    yield cls


def _replaced(cls: type[Message], others: list[type[Message]]) -> bool:
    """Tell whether a module-level class was defined again: its module has another one of `others` in its place."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is not cls and any(
        found is each and (each.__module__, each.__qualname__) == (cls.__module__, cls.__qualname__)
        for each in others
    )
