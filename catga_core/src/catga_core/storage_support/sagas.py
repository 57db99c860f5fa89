"""What the saga stores of all storages share."""

from __future__ import annotations

from typing import Final

from catga_core.errors import ConflictError, LeaseLostError
from catga_core.interfaces.saga_records import (
    SagaFilter,
    SagaRecord,
    SagaState,
)

PRUNED: Final = frozenset({SagaState.COMPLETED, SagaState.COMPENSATED, SagaState.CANCELLED})
"""The states that are removed after a time; a failed compensation stays for an operator."""


def lost_saga(transaction_id: str) -> LeaseLostError:
    """Return the error for a write of a process that no longer runs a saga.

    Args:
        transaction_id: The saga.
    """
    return LeaseLostError(
        f"the saga {transaction_id!r}", "it was released, or another process has claimed it since"
    )


def missing_entries(transaction_id: str, after: int, entries: int) -> ConflictError:
    """Return the error for entries that do not follow the last one of a journal.

    Args:
        transaction_id: The saga.
        after: How many entries the caller expects before them.
        entries: How many there are.
    """
    return ConflictError(
        f"The journal of the saga {transaction_id!r} has {entries} entries, and the write expects {after} before it: an earlier write "
        "failed. Read the journal before you write again.",
        details={"transaction_id": transaction_id, "expected": after, "actual": entries},
    )


def matches(filter: SagaFilter, record: SagaRecord) -> bool:
    """Return whether a saga matches a filter."""
    return (
        (filter.state is None or record.state is filter.state)
        and (filter.name is None or record.saga.name == filter.name)
        and (filter.parked is None or (record.problem is not None) is filter.parked)
        and (filter.updated_before is None or record.updated_at < filter.updated_before)
        and (filter.parent is None or record.saga.parent == filter.parent)
    )
