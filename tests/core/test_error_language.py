"""Error texts use the terms of the language standard."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = (
    "take one away",
    "registered twice",
    "nobody handles",
    "nobody answers",
    "no transport to ask elsewhere",
    "is no point in time",
    "is no time to wait",
    "for there is no folder",
    "no telling whether",
    "would be listened for",
    "had it all the time",
)


def literals(path: Path) -> list[str]:
    """Return the string literals of a module without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


@pytest.mark.parametrize(
    "package", ["catga_core", "catga_nats", "catga_redis", "catga_sqlite", "catga_testing"]
)
def test_string_literals_hold_no_forbidden_phrase(package: str) -> None:
    modules = sorted((ROOT / package / "src").rglob("*.py"))
    assert modules
    found = [
        f"{path.relative_to(ROOT)}: {text!r}"
        for path in modules
        for text in literals(path)
        if any(phrase in text for phrase in FORBIDDEN)
    ]
    assert found == []
