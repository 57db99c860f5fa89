"""Every public name is in the reference, with words of its own."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from tests.docs.pages import DOCS

PACKAGES = [
    "catga_core",
    "catga_core.errors",
    "catga_core.event_sourcing",
    "catga_core.event_sourcing.projections",
    "catga_core.event_sourcing.subscriptions",
    "catga_core.memory",
    "catga_core.reliability",
    "catga_core.sagas",
    "catga_core.scheduling",
    "catga_core.runtime",
    "catga_nats",
    "catga_redis",
    "catga_sqlite",
    "catga_testing",
    "catga_testing.contracts",
    "catga_testing.servers",
]

SHOWN = {
    name
    for page in (DOCS / "reference").glob("*.md")
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    names = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
    # An error that `catga_core` exports as well is shown once, there.
    shown = SHOWN | {path.replace("catga_core.", "catga_core.errors.", 1) for path in SHOWN}
    assert names - shown == set()


@pytest.mark.parametrize("path", sorted(SHOWN))
def test_what_the_reference_shows_exists_and_is_described(path: str) -> None:
    package, _, name = path.rpartition(".")
    shown = getattr(importlib.import_module(package), name)
    if inspect.isclass(shown) or inspect.isfunction(shown):
        # A struct or an enumeration without a docstring would show its base's.
        assert (shown.__doc__ or "").strip(), f"{path} has no docstring, and so is not in the reference"
