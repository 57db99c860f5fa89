"""The options of the audit feature."""

from __future__ import annotations

from catga_core import FeatureOptions


class AuditOptions(FeatureOptions, frozen=True, kw_only=True):
    """What is audited, and how entries are stored.

    Args:
        file: The SQLite file that keeps the entries; `None` keeps them in memory, unless the application registers an
            `AuditStore`.
        queries: Whether queries and stream queries are audited too.
        actor_header: The header of a message that names its sender.
        batch_size: The most entries that are stored in one call.
        flush_seconds: Seconds between two calls; a process that is killed loses the entries of that time.
        max_waiting: The most entries that wait to be stored; later ones are lost, counted and logged.
        retention_seconds: Seconds after which entries are removed; `None` keeps them.
    """

    file: str | None = None
    queries: bool = False
    actor_header: str = "actor"
    batch_size: int = 100
    flush_seconds: float = 1.0
    max_waiting: int = 10_000
    retention_seconds: float | None = None

    def check(self) -> list[str]:
        """Return what is wrong with the options."""
        problems = [
            f"AuditOptions({name}={getattr(self, name)!r}) must be a whole number >= 1."
            for name in ("batch_size", "max_waiting")
            if getattr(self, name) < 1
        ]
        if self.max_waiting < self.batch_size:
            problems.append(
                f"AuditOptions(max_waiting={self.max_waiting}) must not be below batch_size={self.batch_size}. "
                "Raise the first, or lower the second."
            )
        return problems
