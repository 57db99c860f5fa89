"""What orders puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module

from ..calls import Caller
from .domain import InMemoryOrders, OrderRepository
from .handlers import CreateOrderHandler, GetOrderHandler, ListDecisionsHandler, SalesReportHandler
from .rules import OrderRules


class OrdersModule(Module):
    """Orders. Inventory and payments are asked by message, so they may be anywhere, and are no declared need."""

    needs = (Caller,)

    def register(self, catga: CatgaContainer) -> None:
        catga.add_singleton(OrderRepository, InMemoryOrders)
        catga.add_validator(OrderRules)
        catga.add_handlers(CreateOrderHandler, GetOrderHandler, ListDecisionsHandler, SalesReportHandler)
