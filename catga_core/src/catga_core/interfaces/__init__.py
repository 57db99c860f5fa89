"""The ports: what the rest of Catga is built against, and what a plugin implements."""

from catga_core.clock import Clock
from catga_core.interfaces.checkpoints import Checkpoint, CheckpointStore
from catga_core.interfaces.dead_letters import (
    ALL_LETTERS,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterPage,
    DeadLetterSource,
    DeadLetterStore,
)
from catga_core.interfaces.durable_transport import (
    DurableCapabilities,
    DurableTransport,
    KeyFence,
    QueueDefinition,
    Received,
    command_queue,
    event_queue,
)
from catga_core.interfaces.endpoints import (
    Delivered,
    EventEndpoint,
    HandlerEndpoint,
    Inbound,
    RequestEndpoint,
    StreamEndpoint,
)
from catga_core.interfaces.event_log import (
    ANY,
    NO_STREAM,
    AppendResult,
    EventKind,
    EventLog,
    EventRecord,
    PayloadLog,
    RecordedEvent,
    StreamAppend,
)
from catga_core.interfaces.event_store import EventData, EventDecoder, EventStore, StoredEvent, StreamEvents
from catga_core.interfaces.health import Health, HealthStatus
from catga_core.interfaces.hosting import HealthReporter, HostedService
from catga_core.interfaces.idempotency import (
    Claimed,
    ClaimOutcome,
    Completed,
    IdempotencyStore,
    InProgress,
)
from catga_core.interfaces.inbox import InboxStore
from catga_core.interfaces.locks import LockLease, LockProvider
from catga_core.interfaces.memberships import MembershipStore
from catga_core.interfaces.named_values import NamedValueConflictError, NamedValueStore
from catga_core.interfaces.outbox import LeasedMessage, OutboxMessage, OutboxStats, OutboxStore, ToEnqueue
from catga_core.interfaces.port import Port, declared_ports, port, port_of
from catga_core.interfaces.queue import (
    ALL_QUEUED,
    QueuedMessage,
    QueueEntry,
    QueueFilter,
    QueueLease,
    QueuePage,
    QueueState,
    QueueStats,
    QueueStore,
)
from catga_core.interfaces.snapshots import Snapshot, SnapshotStore
from catga_core.interfaces.storage import Storage, StorageCapabilities, UnitOfWork
from catga_core.interfaces.stores import Stores
from catga_core.interfaces.transport import (
    EventTransport,
    RequestTransport,
    StreamTransport,
    Transport,
    TransportCapabilities,
    TransportLifecycle,
)
from catga_core.interfaces.validation import ValidationProblem, Validator
from catga_core.messages.message_context import MessageContext
from catga_core.messages.serializer import Serializer

__all__ = [
    "ALL_LETTERS",
    "ALL_QUEUED",
    "ANY",
    "NO_STREAM",
    "AppendResult",
    "Checkpoint",
    "CheckpointStore",
    "ClaimOutcome",
    "Claimed",
    "Clock",
    "Completed",
    "DeadLetter",
    "DeadLetterFilter",
    "DeadLetterPage",
    "DeadLetterSource",
    "DeadLetterStore",
    "Delivered",
    "DurableCapabilities",
    "DurableTransport",
    "EventData",
    "EventDecoder",
    "EventEndpoint",
    "EventKind",
    "EventLog",
    "EventRecord",
    "EventStore",
    "EventTransport",
    "HandlerEndpoint",
    "Health",
    "HealthReporter",
    "HealthStatus",
    "HostedService",
    "IdempotencyStore",
    "InProgress",
    "Inbound",
    "InboxStore",
    "KeyFence",
    "LeasedMessage",
    "LockLease",
    "LockProvider",
    "MembershipStore",
    "MessageContext",
    "NamedValueConflictError",
    "NamedValueStore",
    "OutboxMessage",
    "OutboxStats",
    "OutboxStore",
    "PayloadLog",
    "Port",
    "QueueDefinition",
    "QueueEntry",
    "QueueFilter",
    "QueueLease",
    "QueuePage",
    "QueueState",
    "QueueStats",
    "QueueStore",
    "QueuedMessage",
    "Received",
    "RecordedEvent",
    "RequestEndpoint",
    "RequestTransport",
    "Serializer",
    "Snapshot",
    "SnapshotStore",
    "Storage",
    "StorageCapabilities",
    "StoredEvent",
    "Stores",
    "StreamAppend",
    "StreamEndpoint",
    "StreamEvents",
    "StreamTransport",
    "ToEnqueue",
    "Transport",
    "TransportCapabilities",
    "TransportLifecycle",
    "UnitOfWork",
    "ValidationProblem",
    "Validator",
    "command_queue",
    "declared_ports",
    "event_queue",
    "port",
    "port_of",
]
