"""The provider names of services."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def provider_name(service: Any) -> str:
    """Return a service's name in snake_case: `OrderRepository` is `order_repository`."""
    arguments = "".join(f"_{provider_name(each)}" for each in get_args(service))
    origin = get_origin(service) or service
    name = getattr(origin, "__name__", str(origin))
    return _WORDS.sub("_", name).lower() + arguments
