"""What a part of the application says of its state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class HealthStatus(StrEnum):
    """How well a part is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Health(msgspec.Struct, frozen=True):
    """The state of one part.

    Args:
        status: Healthy, degraded (works, with less than was asked for) or unhealthy.
        description: One sentence for a person.
        details: Facts for programs.
    """

    status: HealthStatus
    description: str = ""
    details: Mapping[str, Any] = {}
