"""Behaviors, stages, and the compiler that links them with a handler."""

from catga_core.pipeline.behavior import AnyBehavior, Behavior, Next
from catga_core.pipeline.call import Call, Chain, Fail, Handle
from catga_core.pipeline.compiler import BoundBehavior, BoundHandler, Pipeline, compile_pipeline
from catga_core.pipeline.dispatch import Dispatch, deadline_passed
from catga_core.pipeline.failures import (
    as_result,
    cause_of,
    failure_of,
    must_raise,
    raised_of,
    reported_failure_of,
)
from catga_core.pipeline.returned import UNCHECKED, Returned
from catga_core.pipeline.stage import Stage
from catga_core.pipeline.supply import Supply

__all__ = [
    "UNCHECKED",
    "AnyBehavior",
    "Behavior",
    "BoundBehavior",
    "BoundHandler",
    "Call",
    "Chain",
    "Dispatch",
    "Fail",
    "Handle",
    "Next",
    "Pipeline",
    "Returned",
    "Stage",
    "Supply",
    "as_result",
    "cause_of",
    "compile_pipeline",
    "deadline_passed",
    "failure_of",
    "must_raise",
    "raised_of",
    "reported_failure_of",
]
