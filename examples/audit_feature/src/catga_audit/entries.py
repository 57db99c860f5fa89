"""The port `AuditStore` and its records."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from catga_core.interfaces import port


class AuditOutcome(StrEnum):
    """How the handling of a message ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AuditEntry(msgspec.Struct, frozen=True):
    """One message handled by one handler.

    Args:
        id: The entry's id; an entry is stored once for each id.
        recorded_at: Seconds since the Unix epoch, when the handling ended.
        kind: `command`, `query`, `stream` or `event`.
        message: The message's wire name.
        handler: The handler's name.
        message_id: The message's id.
        correlation_id: The id of the conversation.
        actor: Who sent the message, `None` where its sender did not say.
        outcome: How it ended.
        code: The error code of a failure, else `None`.
    """

    id: str
    recorded_at: float
    kind: str
    message: str
    handler: str
    message_id: str
    correlation_id: str
    actor: str | None
    outcome: AuditOutcome
    code: str | None = None


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to find; `None` matches every value.

    Args:
        message: A message's wire name.
        correlation_id: The id of a conversation.
        actor: Who sent the message.
        outcome: How it ended.
    """

    message: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    outcome: AuditOutcome | None = None


ALL_ENTRIES = AuditFilter()
"""Matches every entry."""


# Not transactional: a failed message has to be audited although its unit of work is rolled back.
@port("audit_store", kept=True, kit="catga_audit.contracts:AuditContract")
@runtime_checkable
class AuditStore(Protocol):
    """Keeps audit entries."""

    async def add(self, entries: Sequence[AuditEntry], /) -> None:
        """Store entries, all or none; joins the ambient unit of work of its storage.

        An entry whose id is stored already is skipped, so that a batch with an unknown outcome can be repeated.

        Raises:
            PersistenceError: They could not be stored.
        """
        ...

    async def find(self, filter: AuditFilter = ALL_ENTRIES, /, *, limit: int = 100) -> list[AuditEntry]:
        """Return the entries that a filter matches, the last stored first.

        Raises:
            PersistenceError: They could not be read.
        """
        ...

    async def prune(self, *, before: float, limit: int = 1000) -> int:
        """Remove entries that were recorded before a time, the oldest first; no part of a unit of work.

        Args:
            before: Seconds since the Unix epoch.
            limit: The most entries to remove in this call.

        Returns:
            How many were removed.

        Raises:
            PersistenceError: They could not be removed.
        """
        ...
