"""The names of projections and subscriptions, and of their providers."""

from __future__ import annotations

import re

from catga_core.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def check_consumer_name(name: object, kind: str) -> None:
    """Check a consumer's name: it is part of the names of checkpoints, locks and read models.

    Args:
        name: The name.
        kind: `projection`, `subscription` or `event publisher`, for the error.

    Raises:
        ConfigurationError: The name has other characters than are allowed.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        article = "an" if kind[0] in "aeiou" else "a"
        msg = f"{name!r} cannot be the name of {article} {kind}: use ASCII letters, digits, '_', '-' and '.'"
        raise ConfigurationError(msg)


def provider_of_consumer(name: str, kind: str) -> str:
    """Return the provider's name of a projection or subscription, which `health()` shows.

    Args:
        name: The consumer's name.
        kind: `projection` or `subscription`.
    """
    return f"{kind}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
