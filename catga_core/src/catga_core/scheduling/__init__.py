"""Schedules: commands that are enqueued at recurring times."""

from catga_core.features.scheduling.adding import add_schedule
from catga_core.features.scheduling.definition import OnMissed, OnOverlap
from catga_core.features.scheduling.operator import Schedules
from catga_core.features.scheduling.worker import ScheduleState

__all__ = ["OnMissed", "OnOverlap", "ScheduleState", "Schedules", "add_schedule"]
