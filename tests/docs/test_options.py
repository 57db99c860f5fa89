"""Every option of a container is in the guide, with the default that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from catga_core import CatgaOptions
from tests.docs.pages import DOCS

GUIDE = DOCS / "guides" / "configuration.md"


def rows() -> Iterator[tuple[str, str]]:
    """Yield each option of the table with its default; a row may have several of both."""
    table = GUIDE.read_text(encoding="utf-8").partition("| option | default |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        names, defaults = line.split(" | ")[:2]
        yield from zip(re.findall(r"`(\w+)`", names), defaults.split(", "), strict=True)


def as_written(default: object) -> str:
    match default:
        case ():
            return "none"
        case str():
            return f'`"{default}"`'
        case float():
            return f"`{int(default)}`" if default.is_integer() else f"`{default}`"
        case _:
            return f"`{default}`"


def test_every_option_is_in_the_guide_once_with_its_default() -> None:
    fields = msgspec.structs.fields(CatgaOptions)
    shown = list(rows())
    assert sorted(shown) == sorted((field.name, as_written(field.default)) for field in fields)
