"""Error codes, outcomes, and one error class for each kind of failure."""

from catga_core.errors.base import CatgaError, FixedCodeError
from catga_core.errors.codes import ErrorCode, is_retryable
from catga_core.errors.configuration import ConfigurationError, DeclarationError, UnknownOptionError
from catga_core.errors.event_sourcing import (
    ConcurrencyError,
    EventIdConflictError,
    EventTooLargeError,
    RepeatedEventError,
    StreamNotFoundError,
)
from catga_core.errors.messaging import (
    AmbiguousMessageError,
    ConcurrencyLimitError,
    DuplicateInProgressError,
    HandlerNotFoundError,
    InternalError,
    MessageTooLargeError,
    RequestTimeoutError,
    SerializationError,
    TransportError,
    UnknownMessageError,
)
from catga_core.errors.outcome import Outcome
from catga_core.errors.sagas import (
    SagaCancelledError,
    SagaChangedError,
    SagaConflictError,
    SagaNotFoundError,
    SagaTimeoutError,
)
from catga_core.errors.storage import (
    CheckpointConflictError,
    ConflictError,
    LeaseLostError,
    LockedError,
    LockTimeoutError,
    MessageIdConflictError,
    PersistenceError,
)

__all__ = [
    "AmbiguousMessageError",
    "CatgaError",
    "CheckpointConflictError",
    "ConcurrencyError",
    "ConcurrencyLimitError",
    "ConfigurationError",
    "ConflictError",
    "DeclarationError",
    "DuplicateInProgressError",
    "ErrorCode",
    "EventIdConflictError",
    "EventTooLargeError",
    "FixedCodeError",
    "HandlerNotFoundError",
    "InternalError",
    "LeaseLostError",
    "LockTimeoutError",
    "LockedError",
    "MessageIdConflictError",
    "MessageTooLargeError",
    "Outcome",
    "PersistenceError",
    "RepeatedEventError",
    "RequestTimeoutError",
    "SagaCancelledError",
    "SagaChangedError",
    "SagaConflictError",
    "SagaNotFoundError",
    "SagaTimeoutError",
    "SerializationError",
    "StreamNotFoundError",
    "TransportError",
    "UnknownMessageError",
    "UnknownOptionError",
    "is_retryable",
]
