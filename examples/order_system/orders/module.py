"""What orders puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module
from catga_core.event_sourcing import add_aggregate
from catga_core.event_sourcing.projections import ProjectionMode, add_projection

from ..calls import Caller
from .domain import Order
from .handlers import CreateOrderHandler, GetOrderHandler, ListDecisionsHandler, SalesReportHandler
from .read_models import SalesBook
from .rules import OrderRules


class OrdersModule(Module):
    """Orders. Inventory and payments are asked by message, so they may be anywhere, and are no declared need."""

    needs = (Caller,)

    def register(self, catga: CatgaContainer) -> None:
        add_aggregate(catga, Order)
        add_projection(catga, SalesBook, mode=ProjectionMode.IN_MEMORY)
        catga.add_validator(OrderRules)
        catga.add_handlers(CreateOrderHandler, GetOrderHandler, ListDecisionsHandler, SalesReportHandler)
