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
    from catga_testing.scenarios import GivenAggregate, GivenDecider, Then, given
    from catga_testing.waiting import NotInTimeError, eventually

__all__ = [
    "CheckpointContract",
    "DeadLetterContract",
    "EnqueuedCommand",
    "EventLogContract",
    "GivenAggregate",
    "GivenDecider",
    "HandlerFailure",
    "HostedApp",
    "IdempotencyContract",
    "InboxContract",
    "LockContract",
    "ManualClock",
    "NotInTimeError",
    "NotSettledError",
    "OutboxContract",
    "Outcome",
    "Published",
    "QueueContract",
    "Received",
    "SagaContract",
    "Sent",
    "SnapshotContract",
    "StoresContract",
    "Then",
    "TransportContract",
    "UnitOfWorkContract",
    "eventually",
    "given",
    "test_host",
]

# Every pytest run of an environment with catga-testing imports this package: only what is asked for is loaded.
_HOMES = {
    "CheckpointContract": "contracts",
    "DeadLetterContract": "contracts",
    "EventLogContract": "contracts",
    "GivenAggregate": "scenarios",
    "GivenDecider": "scenarios",
    "HostedApp": "host",
    "IdempotencyContract": "contracts",
    "InboxContract": "contracts",
    "LockContract": "contracts",
    "ManualClock": "clock",
    "NotInTimeError": "waiting",
    "OutboxContract": "contracts",
    "QueueContract": "contracts",
    "SagaContract": "contracts",
    "SnapshotContract": "contracts",
    "StoresContract": "contracts",
    "Then": "scenarios",
    "TransportContract": "contracts",
    "UnitOfWorkContract": "contracts",
    "eventually": "waiting",
    "given": "scenarios",
    "test_host": "host",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'recording')}"), name)
