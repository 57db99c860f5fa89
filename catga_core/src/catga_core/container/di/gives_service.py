"""What tells a dependency-injector provider of a Catga service from any other."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any


class GivesService:
    """A provider that gives a service of the container."""

    @property
    @abstractmethod
    def service(self) -> Any:
        """The type it is asked for by."""
