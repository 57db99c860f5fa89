"""Error texts for a wire name that several classes have, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catga_core.descriptions import with_place


def two_classes(name: str, version: int, first: type[Any], second: type[Any]) -> str:
    """Return the error text for two classes with one name and version."""
    both = " and ".join(
        with_place(f"{each.__module__}.{each.__qualname__}", each) for each in (first, second)
    )
    return (
        f"Two message classes are named {name} v{version}: {both}. "
        'Give one of them another name or version with @message(name="...", version=...).'
    )


def unknown_class(name: str, version: int, versions: Sequence[int], *, closed: bool) -> str:
    """Return the error text for a name and version without a class.

    Args:
        name: The wire name.
        version: The version.
        versions: The known versions of the name, ascending.
        closed: Whether only registered classes are known.
    """
    fix = "register it with add_events(...)" if closed else "import the module that defines it"
    if not versions:
        return f"no class named {name} v{version} is known: {fix}"
    if version > versions[-1]:
        return (
            f"{name} v{version} is newer than v{versions[-1]}, the newest version this program knows: "
            f"run the program that wrote it, or {fix}"
        )
    known = ", ".join(f"v{each}" for each in versions)
    return (
        f"no upcaster leads from {name} v{version} to a known version ({known}): "
        f'add @upcaster("{name}", from_version={version})'
    )
