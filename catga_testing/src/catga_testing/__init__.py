"""Contract kits, fixtures and test tools for Catga."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catga_testing.clock import ManualClock
    from catga_testing.contracts import (
        CheckpointContract,
        DeadLetterContract,
        EventLogContract,
        IdempotencyContract,
        InboxContract,
        LockContract,
        OutboxContract,
        QueueContract,
        SagaContract,
        SnapshotContract,
        StoresContract,
        TransportContract,
        UnitOfWorkContract,
    )
    from catga_testing.host import HostedApp, test_host
    from catga_testing.recording import (
        EnqueuedCommand,
        HandlerFailure,
        NotSettledError,
        Outcome,
        Published,
        Received,
        Sent,
    )
    from catga_testing.sagas.determinism import (
        DeterminismRules,
        NonDeterministicSagaError,
        deterministic_sagas,
    )
    from catga_testing.sagas.exploring import explore_crashes
    from catga_testing.sagas.given import GivenSaga, ThenSaga, given_saga
    from catga_testing.sagas.journals import SagaJournal, export_journals
    from catga_testing.sagas.replaying import ReplayError, ReplayProblem, ReplayReport, replay_check
    from catga_testing.sagas.report import ExplorationError, ExplorationReport, FailingRun
    from catga_testing.sagas.world import SagaWorld
    from catga_testing.scenarios import GivenAggregate, GivenDecider, Then, given
    from catga_testing.waiting import NotInTimeError, eventually

__all__ = [
    "CheckpointContract",
    "DeadLetterContract",
    "DeterminismRules",
    "EnqueuedCommand",
    "EventLogContract",
    "ExplorationError",
    "ExplorationReport",
    "FailingRun",
    "GivenAggregate",
    "GivenDecider",
    "GivenSaga",
    "HandlerFailure",
    "HostedApp",
    "IdempotencyContract",
    "InboxContract",
    "LockContract",
    "ManualClock",
    "NonDeterministicSagaError",
    "NotInTimeError",
    "NotSettledError",
    "OutboxContract",
    "Outcome",
    "Published",
    "QueueContract",
    "Received",
    "ReplayError",
    "ReplayProblem",
    "ReplayReport",
    "SagaContract",
    "SagaJournal",
    "SagaWorld",
    "Sent",
    "SnapshotContract",
    "StoresContract",
    "Then",
    "ThenSaga",
    "TransportContract",
    "UnitOfWorkContract",
    "deterministic_sagas",
    "eventually",
    "explore_crashes",
    "export_journals",
    "given",
    "given_saga",
    "replay_check",
    "test_host",
]

# Every pytest run of an environment with catga-testing imports this package: only what is asked for is loaded.
_HOMES = {
    "CheckpointContract": "contracts",
    "DeadLetterContract": "contracts",
    "DeterminismRules": "sagas.determinism",
    "EventLogContract": "contracts",
    "ExplorationError": "sagas.report",
    "ExplorationReport": "sagas.report",
    "FailingRun": "sagas.report",
    "GivenAggregate": "scenarios",
    "GivenDecider": "scenarios",
    "GivenSaga": "sagas.given",
    "HostedApp": "host",
    "IdempotencyContract": "contracts",
    "InboxContract": "contracts",
    "LockContract": "contracts",
    "ManualClock": "clock",
    "NonDeterministicSagaError": "sagas.determinism",
    "NotInTimeError": "waiting",
    "OutboxContract": "contracts",
    "QueueContract": "contracts",
    "ReplayError": "sagas.replaying",
    "ReplayProblem": "sagas.replaying",
    "ReplayReport": "sagas.replaying",
    "SagaContract": "contracts",
    "SagaJournal": "sagas.journals",
    "SagaWorld": "sagas.world",
    "SnapshotContract": "contracts",
    "StoresContract": "contracts",
    "Then": "scenarios",
    "ThenSaga": "sagas.given",
    "TransportContract": "contracts",
    "UnitOfWorkContract": "contracts",
    "deterministic_sagas": "sagas.determinism",
    "eventually": "waiting",
    "explore_crashes": "sagas.exploring",
    "export_journals": "sagas.journals",
    "given": "scenarios",
    "given_saga": "sagas.given",
    "replay_check": "sagas.replaying",
    "test_host": "host",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'recording')}"), name)
