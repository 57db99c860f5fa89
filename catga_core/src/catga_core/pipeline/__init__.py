"""Behaviors and the compiler that links them with a handler."""

from catga_core.pipeline.behavior import AnyBehavior, Behavior, Next
from catga_core.pipeline.compiler import HandlerStage, Pipeline, Stage, compile_pipeline
from catga_core.pipeline.dispatch import Dispatch, deadline_passed, run_in_context
from catga_core.pipeline.failures import as_result, cause_of, failure_of, reported_failure_of
from catga_core.pipeline.supply import Supply

__all__ = [
    "AnyBehavior",
    "Behavior",
    "Dispatch",
    "HandlerStage",
    "Next",
    "Pipeline",
    "Stage",
    "Supply",
    "as_result",
    "cause_of",
    "compile_pipeline",
    "deadline_passed",
    "failure_of",
    "reported_failure_of",
    "run_in_context",
]
