"""How processes reach the place of a run."""

from __future__ import annotations

from tests.faults.kills.places import Place


def way_of(place: Place) -> str:
    """Return its URL, with short timeouts where it is a server that is killed.

    Args:
        place: The place.
    """
    if not place.can_break:
        return place.url
    return f"{place.url}/0?command_timeout=1&connect_timeout=1&recover_timeout=2"
