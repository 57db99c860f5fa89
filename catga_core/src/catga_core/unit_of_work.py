"""Where the unit of work of this task is found: what its stores are asked to write joins it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

active_unit_of_work: ContextVar[Any] = ContextVar("catga_unit_of_work", default=None)
"""A `catga_core.interfaces.UnitOfWork`, set by its storage around a `unit_of_work()` block; `None` outside of any.

A store joins it where it is of the store's own storage."""
