"""Sagas: distributed transactions written as plain code, with compensation, that survive crashes."""

from catga_core.interfaces.saga_store import ALL_SAGAS, SagaFilter, SagaState, SagaStore
from catga_core.sagas.adding import add_sagas
from catga_core.sagas.context import SagaContext
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.options import SagaOptions
from catga_core.sagas.results import SagaResult, SagaStatus, SagaStep, StepState
from catga_core.sagas.saga import Saga, saga

__all__ = [
    "ALL_SAGAS",
    "Saga",
    "SagaContext",
    "SagaExecutor",
    "SagaFilter",
    "SagaOptions",
    "SagaResult",
    "SagaState",
    "SagaStatus",
    "SagaStep",
    "SagaStore",
    "StepState",
    "add_sagas",
    "saga",
]
