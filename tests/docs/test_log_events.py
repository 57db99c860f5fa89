"""The table of log events in the guide is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable

from catga_core import log
from tests.docs.pages import DOCS


def _named(values: Iterable[object]) -> set[str]:
    names: set[str] = set()
    for value in values:
        if isinstance(value, str) and value.startswith("catga."):
            names.add(value)
        elif isinstance(value, dict):
            names |= _named(value.values())
    return names


def test_every_event_that_is_logged_is_in_the_table_and_no_other() -> None:
    guide = (DOCS / "guides" / "configuration.md").read_text(encoding="utf-8")
    table = guide.partition("These are the events.")[2].partition("An exception that a handler")[0]

    shown = set(re.findall(r"`(catga\.[a-z_]+)`", table))

    assert shown == _named(vars(log).values())
