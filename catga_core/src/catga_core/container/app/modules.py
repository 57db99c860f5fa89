"""Modules: a part of an application that registers itself in one place."""

from __future__ import annotations

from abc import abstractmethod

from catga_core.container.app.container import CatgaContainer
from catga_core.container.app.module_checks import ModuleBase


class Module(ModuleBase):
    """Registers a part's services, handlers and behaviors, and says what it needs from others.

    Derive from it, list in `needs` the service types and module classes that others must provide, and add it with
    `add_module(catga, OrderModule)`. Needs are checked when the container starts.
    """

    @abstractmethod
    def register(self, catga: CatgaContainer) -> None:
        """Register everything of this module.

        Args:
            catga: The container to fill.
        """
