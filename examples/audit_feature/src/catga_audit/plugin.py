"""How the feature gets into a container."""

from __future__ import annotations

from catga_core import CatgaContainer, plugin
from catga_core.container import add_stores

from .entries import AuditStore
from .feature import AuditFeature
from .options import AuditOptions


def add_audit(container: CatgaContainer, options: AuditOptions | None = None) -> None:
    """Record which messages are handled, for whom, and how that ends.

    Args:
        container: The application's container.
        options: `None` for the defaults.
    """
    chosen = options or AuditOptions()
    file = chosen.file
    if file is not None:
        # Imported here: who keeps the entries elsewhere does not need sqlite3.
        from .sqlite import sqlite_audit_stores

        add_stores(container, lambda clock: sqlite_audit_stores(file, clock), [AuditStore], name="audit")
    container.add_feature(AuditFeature(chosen))


@plugin(api=1)
def add_audit_from_env(container: CatgaContainer, name: str = "audit") -> None:
    """Add the feature with the options that the environment gives by `CATGA_AUDIT_*`.

    Args:
        container: The application's container.
        name: The plugin's name, which the plugin loader passes.

    Raises:
        ConfigurationError: A variable is unknown or cannot be read.
    """
    del name
    add_audit(container, AuditOptions.from_env())
