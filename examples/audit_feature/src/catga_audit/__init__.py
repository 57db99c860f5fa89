"""An audit log of handled messages: an example of a feature for Catga."""

from .entries import ALL_ENTRIES, AuditEntry, AuditFilter, AuditOutcome, AuditStore
from .feature import AuditFeature
from .memory import MemoryAuditStore, memory_audit_stores
from .options import AuditOptions
from .plugin import add_audit, add_audit_from_env
from .sqlite import SqliteAuditStorage, SqliteAuditStore, sqlite_audit_stores
from .writer import AuditWriter

__all__ = [
    "ALL_ENTRIES",
    "AuditEntry",
    "AuditFeature",
    "AuditFilter",
    "AuditOptions",
    "AuditOutcome",
    "AuditStore",
    "AuditWriter",
    "MemoryAuditStore",
    "SqliteAuditStorage",
    "SqliteAuditStore",
    "add_audit",
    "add_audit_from_env",
    "memory_audit_stores",
    "sqlite_audit_stores",
]
