"""The roles of a process: what a running container does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias, get_args

from catga_core.errors import ConfigurationError

Role: TypeAlias = Literal["serve", "work", "admin"]
"""What a process does with a container.

- `serve`: handle what the transport delivers.
- `work`: run workers: consumers of the log, the outbox relay, pruning, and hosted services that hold the mediator.
- `admin`: neither, on its own: stores and transport are connected and the mediator sends, but nothing is consumed.
"""

DEFAULT_ROLES: frozenset[Role] = frozenset({"serve", "work"})
"""What a process does unless it says otherwise."""


def check_roles(roles: Collection[Role]) -> frozenset[Role]:
    """Return the roles as a set.

    Args:
        roles: As given by the user.

    Raises:
        ConfigurationError: When there is none, or one is unknown.
    """
    known = get_args(Role)
    # An object, because a lone string is a likely slip, and the checker would call the test unreachable.
    given: object = roles
    if isinstance(given, str):
        msg = f"roles={given!r} is a string, not a set of roles. Write roles={{{given!r}}}."
        raise ConfigurationError(msg)
    unknown = sorted(str(each) for each in roles if each not in known)
    if unknown or not roles:
        what = (
            f"has unknown roles: {', '.join(unknown)}"
            if unknown
            else "is empty, so the process would do nothing"
        )
        msg = f"roles {what}. Choose from {', '.join(known)}."
        raise ConfigurationError(msg)
    return frozenset(roles)
