"""How inventory answers."""

from __future__ import annotations

from catga_core import CatgaResult, RequestHandler
from catga_core.event_sourcing.projections import Projections
from catga_core.reliability import own_units_of_work

from .domain import Refused
from .messages import ReleaseStock, Reservation, ReserveStock, StockLevel, StockLevels
from .read_models import StockBook
from .warehouse import Warehouse


@own_units_of_work
class ReserveStockHandler(RequestHandler[ReserveStock, Reservation]):
    """Sets goods aside. Its no is kept as well, and so may not be rolled back."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def handle(self, message: ReserveStock) -> Reservation | CatgaResult[Reservation]:
        answer = await self._warehouse.reserve(message.order_id, message.lines)
        if isinstance(answer, Refused):
            return CatgaResult.failure(code=answer.code, message=answer.why)
        return answer


@own_units_of_work
class ReleaseStockHandler(RequestHandler[ReleaseStock, None]):
    """Puts goods back."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def handle(self, message: ReleaseStock) -> None:
        await self._warehouse.release(message.order_id)


class StockLevelsHandler(RequestHandler[StockLevels, tuple[StockLevel, ...]]):
    """Counts."""

    def __init__(self, book: StockBook, projections: Projections) -> None:
        self._book = book
        self._projections = projections

    async def handle(self, message: StockLevels) -> tuple[StockLevel, ...]:
        await self._projections.caught_up(StockBook.projection_name)
        return tuple(self._book.levels.values())
