"""How inventory answers."""

from __future__ import annotations

from catga_core import CatgaResult, RequestHandler

from .domain import Refused, Warehouse
from .messages import ReleaseStock, Reservation, ReserveStock, StockLevel, StockLevels


class ReserveStockHandler(RequestHandler[ReserveStock, Reservation]):
    """Sets goods aside."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def handle(self, message: ReserveStock) -> Reservation | CatgaResult[Reservation]:
        answer = self._warehouse.reserve(message.order_id, message.lines)
        if isinstance(answer, Refused):
            return CatgaResult.failure(code=answer.code, message=answer.why)
        return answer


class ReleaseStockHandler(RequestHandler[ReleaseStock, None]):
    """Puts goods back."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def handle(self, message: ReleaseStock) -> None:
        self._warehouse.release(message.order_id)


class StockLevelsHandler(RequestHandler[StockLevels, tuple[StockLevel, ...]]):
    """Counts."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def handle(self, message: StockLevels) -> tuple[StockLevel, ...]:
        return self._warehouse.levels()
