"""What inventory puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module

from .domain import Catalog, Warehouse
from .handlers import ReleaseStockHandler, ReserveStockHandler, StockLevelsHandler


class InventoryModule(Module):
    """Inventory, complete but for what is in the catalog."""

    needs = (Catalog,)

    def register(self, catga: CatgaContainer) -> None:
        catga.add_singleton(Warehouse)
        catga.add_handlers(ReserveStockHandler, ReleaseStockHandler, StockLevelsHandler)
