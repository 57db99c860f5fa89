"""Every workload, by its name."""

from __future__ import annotations

from tests.faults.histories.workload import Workload
from tests.faults.histories.workloads.events import EVENTS
from tests.faults.histories.workloads.locks import LOCKS
from tests.faults.histories.workloads.outbox import OUTBOX
from tests.faults.histories.workloads.projections import INLINE, PROJECTIONS
from tests.faults.histories.workloads.units import UNITS

WORKLOADS: dict[str, Workload] = {
    each.name: each for each in (EVENTS, OUTBOX, UNITS, LOCKS, PROJECTIONS, INLINE)
}
