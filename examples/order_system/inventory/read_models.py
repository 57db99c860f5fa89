"""How many of every product are left, worked out from what happened in the warehouse."""

from __future__ import annotations

from catga_core.event_sourcing.projections import Projection, project

from .events import GoodsPutBack, GoodsSetAside, StockCounted
from .messages import StockLevel


class StockBook(Projection, name="stock-book"):
    """The levels of all products, in the order of the catalog."""

    def __init__(self) -> None:
        self.levels: dict[str, StockLevel] = {}

    @project
    def counted(self, event: StockCounted) -> None:
        self.levels[event.product] = StockLevel(event.product, event.left, 0, event.left)

    @project
    def set_aside(self, event: GoodsSetAside) -> None:
        self._moved(event.product, event.quantity, event.left)

    @project
    def put_back(self, event: GoodsPutBack) -> None:
        self._moved(event.product, -event.quantity, event.left)

    def _moved(self, product: str, reserved: int, left: int) -> None:
        before = self.levels[product]
        self.levels[product] = StockLevel(product, before.before, before.reserved + reserved, left)
