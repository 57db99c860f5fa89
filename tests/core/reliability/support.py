"""What several tests of reliability need."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from catga_core import CatgaApp, Clock
from catga_testing import ManualClock
from tests.stores import Place


def moved(place: Place, clock: ManualClock, **options: object) -> AbstractAsyncContextManager[CatgaApp]:
    """Run a container whose time a test moves."""
    catga = place.container(**options)
    catga.add_singleton(Clock, clock, instance=True)
    return catga.running()
