"""Whether the targets of two projections could have the same name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from catga_core.event_sourcing.hosting import Hosted, hosted_of
from catga_core.event_sourcing.projections.generations import identifier


def problems_of_target(added: Hosted, providers: Mapping[str, Any]) -> list[str]:
    """Return a text for each projection whose target could have the name of a target of another one.

    The targets of `totals` are called `totals_1` and, rebuilt, `totals_1_1`; so is the first one of a projection `totals_1`.

    Args:
        added: The projection to add.
        providers: The container's providers.
    """
    others: Iterable[Hosted | None] = map(hosted_of, providers.values())
    return [
        f"{other.shown} and {added.shown} are the projections {other.name!r} and {added.name!r}, whose targets could have "
        "the same name. Rename one of them, without a number at its end."
        for other in others
        if other is not None and other.kind == "projection" and _meet(other.name, added.name)
    ]


def _meet(one: str, other: str) -> bool:
    short, long = sorted((identifier(one), identifier(other)), key=len)
    # SQL does not tell upper from lower case.
    return re.fullmatch(rf"{re.escape(short)}(_\d+)+", long, re.IGNORECASE) is not None or (
        one != other and short.lower() == long.lower()
    )
