"""Whether a message class, or anything nested in it, declares a constraint."""

from __future__ import annotations

from typing import Any

import msgspec.inspect as shape

from catga_core.codecs.annotations import DECIMAL_BOUNDS
from catga_core.codecs.plan import plan_of

_CONSTRAINTS = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length", "tz")


def has_constraints(cls: type[Any]) -> bool:
    """Tell whether a Struct class, or anything nested in it, declares a `msgspec.Meta` constraint.

    Args:
        cls: The class; one that cannot be encoded, which no handler can be registered for, has none.
    """
    plan = plan_of(cls)
    return not plan.problems and _constrained(shape.type_info(plan.type), set())


def _constrained(described: shape.Type, seen: set[int]) -> bool:
    if id(described) in seen:
        return False
    seen.add(id(described))
    if any(getattr(described, name, None) is not None for name in _CONSTRAINTS):
        return True
    extra: Any = getattr(described, "extra", None)
    if extra and DECIMAL_BOUNDS in extra:
        return True
    inner: list[Any] = [*getattr(described, "types", ()), *getattr(described, "item_types", ())]
    inner += [getattr(described, name, None) for name in ("type", "item_type", "key_type", "value_type")]
    inner += [field.type for field in getattr(described, "fields", ())]
    return any(isinstance(each, shape.Type) and _constrained(each, seen) for each in inner)
