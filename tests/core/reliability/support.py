"""What several tests of reliability need."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from catga_core import CatgaApp, CatgaContainer, Clock
from catga_testing import ManualClock
from tests.stores import Place


def moved(place: Place | CatgaContainer, clock: ManualClock) -> AbstractAsyncContextManager[CatgaApp]:
    """Run a container whose time a test moves.

    Parameters:
        place: the container, or where a new one keeps its state.
        clock: its time.
    """
    catga = place.container() if isinstance(place, Place) else place
    catga.add_singleton(Clock, clock, instance=True)
    return catga.running()
