"""The names of projections and subscriptions, and of their providers."""

from __future__ import annotations

import re

from catga_core.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def check_follower_name(name: object, kind: str) -> None:
    """Refuse what cannot be a name: it is part of the names of checkpoints, locks and read models.

    Raises:
        ConfigurationError: telling what can.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        msg = f"{name!r} cannot be the name of a {kind}: use ASCII letters, digits, '_', '-' and '.'"
        raise ConfigurationError(msg)


def provider_of_follower(name: str, kind: str) -> str:
    """Return the name under which health tells of a projection or subscription."""
    return f"{kind}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
