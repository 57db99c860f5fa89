"""What inventory puts into a container."""

from __future__ import annotations

from typing import get_args

from catga_core import CatgaContainer, Module
from catga_core.event_sourcing import add_events
from catga_core.event_sourcing.projections import ProjectionMode, add_projection

from .domain import Catalog
from .events import OrderGoodsEvent, ShelfEvent
from .handlers import ReleaseStockHandler, ReserveStockHandler, StockLevelsHandler
from .read_models import StockBook
from .warehouse import Warehouse


class InventoryModule(Module):
    """Inventory, complete but for what is in the catalog."""

    needs = (Catalog,)

    def register(self, catga: CatgaContainer) -> None:
        add_events(catga, *get_args(ShelfEvent), *get_args(OrderGoodsEvent))
        add_projection(catga, StockBook, mode=ProjectionMode.IN_MEMORY)
        catga.add_hosted(Warehouse)
        catga.add_handlers(ReserveStockHandler, ReleaseStockHandler, StockLevelsHandler)
