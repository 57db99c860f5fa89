"""The checks of lists, tuples, sets and dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catga_core.codecs.checks import Check, compiled, exactly, test_of
from catga_core.codecs.findings import Finding
from catga_core.codecs.rules import Rule


def items_check(name: str, cls: type[Any], item: Check, rules: Sequence[Rule], where: str) -> Check:
    """Return the check of a collection.

    Args:
        name: The collection's name.
        cls: Its class.
        item: The check of each item.
        rules: The declared constraints of its length.
        where: What an item's path adds, with `{}` for its position.
    """
    whole = exactly(name, cls, rules)
    lines = ["if type(v) is not cls: return False"]
    if rules:
        lines.append("if not whole(v): return False")
    lines += ["for x in v:", f"    if not ({item.inline or 'item(x)'}): return False", "return True"]
    good = compiled("v", lines, {"cls": cls, "whole": whole.good, "item": test_of(item)})

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if not whole.good(value):
            whole.explain(value, path, findings)
        if type(value) is not cls:
            return
        for number, one in enumerate(value):
            if not item.good(one):
                item.explain(one, path + where.format(number), findings)

    return Check(name, whole.fits, good, explain)


def tuple_check(items: Sequence[Check]) -> Check:
    """Return the check of a tuple with one type for each place."""
    count = len(items)
    length = Rule(
        lambda value: len(value) == count, lambda value: f"must have {count} items, has {len(value)}"
    )
    whole = exactly("tuple", tuple, [length])

    def good(value: Any) -> bool:
        return whole.good(value) and all(item.good(part) for item, part in zip(items, value, strict=True))

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if not whole.good(value):
            whole.explain(value, path, findings)
            return
        for number, (item, part) in enumerate(zip(items, value, strict=True)):
            if not item.good(part):
                item.explain(part, f"{path}[{number}]", findings)

    return Check("tuple", whole.fits, good, explain)


def dict_check(key: Check, item: Check, rules: Sequence[Rule]) -> Check:
    """Return the check of a dict.

    Args:
        key: The check of each key.
        item: The check of each value.
        rules: The declared constraints of its length.
    """
    whole = exactly("dict", dict, rules)
    lines = ["if type(v) is not cls: return False"]
    if rules:
        lines.append("if not whole(v): return False")
    lines += [
        "for x in v:",
        f"    if not ({key.inline or 'key(x)'}): return False",
        "for x in v.values():",
        f"    if not ({item.inline or 'item(x)'}): return False",
        "return True",
    ]
    names = {"cls": dict, "whole": whole.good, "key": test_of(key), "item": test_of(item)}
    good = compiled("v", lines, names)

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if not whole.good(value):
            whole.explain(value, path, findings)
        if not issubclass(type(value), dict):
            return
        # A key is payload as much as a value: paths tell its position instead.
        places: list[tuple[Check, str, list[Any]]] = [
            (key, "keys", list(value.keys())),
            (item, "values", list(value.values())),
        ]
        for check, what, parts in places:
            for number, part in enumerate(parts):
                if not check.good(part):
                    check.explain(part, f"{path}.{what}()[{number}]", findings)

    return Check("dict", whole.fits, good, explain)


def typed_dict_check(name: str, parts: Mapping[str, tuple[Check, bool]]) -> Check:
    """Return the check of a dict with a type for each key.

    Args:
        name: The class's name.
        parts: The check of each key's value, and whether the key is required.
    """
    whole = exactly("dict", dict)

    def good(value: Any) -> bool:
        return (
            type(value) is dict
            and value.keys() <= parts.keys()
            and all(
                check.good(value[part]) if part in value else not required
                for part, (check, required) in parts.items()
            )
        )

    def explain(value: Any, path: str, findings: list[Finding]) -> None:
        if type(value) is not dict:
            whole.explain(value, path, findings)
            return
        if not value.keys() <= parts.keys():
            text = f"has a key that {name} does not declare, which would be lost"
            findings.append(Finding(path, text, declared=False))
        for part, (check, required) in parts.items():
            where = f"{path}[{part!r}]"
            if part in value:
                if not check.good(value[part]):
                    check.explain(value[part], where, findings)
            elif required:
                findings.append(Finding(where, "is missing", declared=True, mistyped=True))

    return Check("dict", whole.fits, good, explain)
