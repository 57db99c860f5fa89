"""What orders puts into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, Module
from catga_core.event_sourcing import add_aggregate
from catga_core.event_sourcing.projections import ProjectionMode, add_projection
from catga_core.sagas import add_sagas

from ..calls import Patience
from .desk import OrderDesk
from .domain import Order
from .handlers import (
    CreateOrderHandler,
    GetOrderHandler,
    ListDecisionsHandler,
    ListUnfinishedHandler,
    SalesReportHandler,
)
from .read_models import SalesBook
from .rules import OrderRules
from .saga import OrderSaga


class OrdersModule(Module):
    """Orders. Inventory and payments are asked by message, so they may be anywhere, and are no declared need."""

    needs = (Patience,)

    def register(self, catga: CatgaContainer) -> None:
        add_aggregate(catga, Order)
        add_projection(catga, SalesBook, mode=ProjectionMode.IN_MEMORY)
        add_sagas(catga, OrderSaga)
        catga.add_singleton(OrderDesk)
        catga.add_validator(OrderRules)
        catga.add_handlers(
            CreateOrderHandler,
            GetOrderHandler,
            ListDecisionsHandler,
            ListUnfinishedHandler,
            SalesReportHandler,
        )
