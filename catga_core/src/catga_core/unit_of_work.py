"""Units of work: the ambient one of a task, and what those of all storages share."""

from catga_core.runtime.connections import connection_of
from catga_core.runtime.unit_of_work import (
    BaseUnitOfWork,
    UnitOfWorkBlock,
    active_unit_of_work,
    joined_unit_of_work,
    open_unit_of_work,
    outside_of_units_of_work,
)

__all__ = [
    "BaseUnitOfWork",
    "UnitOfWorkBlock",
    "active_unit_of_work",
    "connection_of",
    "joined_unit_of_work",
    "open_unit_of_work",
    "outside_of_units_of_work",
]
