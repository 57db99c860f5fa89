"""What a part of the application says of its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, cast


class HealthStatus(StrEnum):
    """How well a part is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Health(dict[str, Any]):
    """The state of one part; a dict as well, so that `json.dumps(app.health())` gives an endpoint's answer.

    Args:
        status: Healthy, degraded (works, with less than was asked for) or unhealthy.
        description: One sentence for a person.
        details: Facts for programs. What JSON has no form for is replaced by its text.
    """

    __slots__ = ()
    __match_args__ = ("status", "description", "details")

    def __init__(
        self, status: HealthStatus, description: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(status=status, description=description, details=_plain(details or {}))

    @property
    def status(self) -> HealthStatus:
        """How well the part is."""
        status: HealthStatus = self["status"]
        return status

    @property
    def description(self) -> str:
        """One sentence for a person."""
        description: str = self["description"]
        return description

    @property
    def details(self) -> Mapping[str, Any]:
        """Facts for programs."""
        details: Mapping[str, Any] = self["details"]
        return details

    def __repr__(self) -> str:
        return f"Health(status={self.status!r}, description={self.description!r}, details={self.details!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.description, self.details)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        # JSON has neither infinity nor "not a number".
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping):
        given: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {str(name): _plain(each) for name, each in given.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in cast("Iterable[Any]", value)]
    return str(value)
