"""Sagas: distributed transactions written as plain code, with compensation, that survive crashes."""

from catga_core.interfaces.saga_records import (
    ALL_SAGAS,
    SagaFilter,
    SagaState,
)
from catga_core.interfaces.saga_store import SagaStore
from catga_core.sagas.adding import add_sagas
from catga_core.sagas.context import SagaContext
from catga_core.sagas.declared.building import (
    child,
    commit_point,
    parallel,
    publish,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)
from catga_core.sagas.declared.definition import SagaDefinition
from catga_core.sagas.declared.parts import SagaPart
from catga_core.sagas.declared.values import SagaValues
from catga_core.sagas.drawing.graph import saga_diff, saga_graph
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.journal_entries import JournalEntry
from catga_core.sagas.options import SagaOptions
from catga_core.sagas.results import SagaResult, SagaStatus, SagaStep, StepState
from catga_core.sagas.saga import Saga, saga

__all__ = [
    "ALL_SAGAS",
    "JournalEntry",
    "Saga",
    "SagaContext",
    "SagaDefinition",
    "SagaExecutor",
    "SagaFilter",
    "SagaOptions",
    "SagaPart",
    "SagaResult",
    "SagaState",
    "SagaStatus",
    "SagaStep",
    "SagaStore",
    "SagaValues",
    "StepState",
    "add_sagas",
    "child",
    "commit_point",
    "parallel",
    "publish",
    "saga",
    "saga_diff",
    "saga_graph",
    "sequence",
    "sleep",
    "step",
    "wait_for",
    "when",
]
