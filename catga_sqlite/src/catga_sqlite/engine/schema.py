"""The tables, and how an older file gets those of today."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from catga_core.errors import ConfigurationError


class Migration(NamedTuple):
    """One step of the schema, done in one transaction.

    Args:
        name: What it brings.
        statements: What is executed, in this order.
    """

    name: str
    statements: tuple[str, ...]


# Only ever add to its end: files out there have had the ones before.
MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(
        "first tables",
        (
            # Fencing numbers of keys and locks: one row, so that they rise also when a key's row is gone.
            "CREATE TABLE catga_fence (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL) STRICT",
            "INSERT INTO catga_fence VALUES (1, 0)",
            "CREATE TABLE catga_streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
            # Ids are 16 bytes where they are 32 hexadecimal digits, else text: hence ANY.
            """CREATE TABLE catga_event_kinds (
                id INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                schema_version INTEGER NOT NULL,
                format TEXT NOT NULL,
                UNIQUE (name, schema_version, format)
            ) STRICT""",
            """CREATE TABLE catga_events (
                position INTEGER PRIMARY KEY,
                stream INTEGER NOT NULL,
                version INTEGER NOT NULL,
                message_id ANY NOT NULL,
                kind INTEGER NOT NULL,
                recorded_at INTEGER NOT NULL,
                correlation_id ANY,
                causation_id ANY,
                headers BLOB,
                data BLOB NOT NULL
            ) STRICT""",
            "CREATE UNIQUE INDEX catga_events_version ON catga_events (stream, version)",
            "CREATE UNIQUE INDEX catga_events_message ON catga_events (message_id, stream)",
            """CREATE TABLE catga_snapshots (
                id INTEGER PRIMARY KEY,
                stream_id TEXT NOT NULL,
                name TEXT NOT NULL,
                version INTEGER NOT NULL,
                schema_version INTEGER NOT NULL,
                format TEXT NOT NULL,
                taken_at INTEGER NOT NULL,
                data BLOB NOT NULL
            ) STRICT""",
            "CREATE UNIQUE INDEX catga_snapshots_version ON catga_snapshots (stream_id, name, version)",
            """CREATE TABLE catga_checkpoints (
                name TEXT PRIMARY KEY,
                position INTEGER NOT NULL,
                updated_at INTEGER NOT NULL,
                fencing_token INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            # A row without a result is a claim.
            """CREATE TABLE catga_idempotency (
                key TEXT PRIMARY KEY,
                fencing_token INTEGER NOT NULL,
                expires_at REAL NOT NULL,
                result BLOB
            ) STRICT""",
            "CREATE INDEX catga_idempotency_expired ON catga_idempotency (expires_at)",
            """CREATE TABLE catga_inbox (
                message_id ANY NOT NULL,
                handler TEXT NOT NULL,
                recorded_at REAL NOT NULL,
                PRIMARY KEY (message_id, handler)
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX catga_inbox_recorded ON catga_inbox (recorded_at)",
            # AUTOINCREMENT: the number of a pruned message is never given again.
            """CREATE TABLE catga_outbox (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                message_id ANY NOT NULL UNIQUE,
                key TEXT,
                name TEXT NOT NULL,
                schema_version INTEGER NOT NULL,
                format TEXT NOT NULL,
                data BLOB NOT NULL,
                context BLOB NOT NULL,
                created_at REAL NOT NULL,
                due_at REAL NOT NULL DEFAULT 0,
                leased INTEGER NOT NULL DEFAULT 0,
                fencing_token INTEGER NOT NULL DEFAULT 0,
                attempts INTEGER NOT NULL DEFAULT 0,
                error TEXT,
                sent_at REAL
            ) STRICT""",
            # In their order, past whatever was sent; by the time they are due; and those of a key that are not due yet.
            "CREATE INDEX catga_outbox_pending ON catga_outbox (sequence, due_at, key) WHERE sent_at IS NULL",
            "CREATE INDEX catga_outbox_due ON catga_outbox (due_at) WHERE sent_at IS NULL",
            "CREATE INDEX catga_outbox_keys ON catga_outbox (key, due_at, sequence) WHERE sent_at IS NULL",
            "CREATE INDEX catga_outbox_sent ON catga_outbox (sent_at) WHERE sent_at IS NOT NULL",
            """CREATE TABLE catga_dead_letters (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                source TEXT NOT NULL,
                handler TEXT NOT NULL,
                name TEXT NOT NULL,
                schema_version INTEGER NOT NULL,
                format TEXT NOT NULL,
                data BLOB NOT NULL,
                message_id TEXT NOT NULL,
                context BLOB NOT NULL,
                code TEXT NOT NULL,
                message TEXT NOT NULL,
                traceback TEXT,
                attempts INTEGER NOT NULL,
                first_failed_at REAL NOT NULL,
                last_failed_at REAL NOT NULL,
                replays INTEGER NOT NULL
            ) STRICT""",
            """CREATE TABLE catga_locks (
                name TEXT PRIMARY KEY,
                token TEXT NOT NULL,
                fencing_token INTEGER NOT NULL,
                expires_at REAL NOT NULL
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    Migration(
        "memberships and named values",
        (
            """CREATE TABLE catga_members (
                group_name TEXT NOT NULL,
                member TEXT NOT NULL,
                expires_at REAL NOT NULL,
                PRIMARY KEY (group_name, member)
            ) STRICT, WITHOUT ROWID""",
            "CREATE TABLE catga_named_values (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        ),
    ),
    Migration(
        "fingerprints of messages",
        (
            # Empty for what an older Catga has stored: unknown content.
            "ALTER TABLE catga_outbox ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE catga_inbox ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''",
        ),
    ),
    Migration(
        "events of checkpoints",
        # The message id of the event at the position, as text.
        ("ALTER TABLE catga_checkpoints ADD COLUMN event_id TEXT",),
    ),
    Migration("commands of the outbox", ("ALTER TABLE catga_outbox ADD COLUMN enqueue BLOB",)),
    Migration(
        "queues of dead letters",
        (
            "ALTER TABLE catga_dead_letters ADD COLUMN queue TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE catga_dead_letters ADD COLUMN key TEXT",
        ),
    ),
    Migration(
        "queues",
        (
            # The last number of a row or place, so that none is given twice.
            "CREATE TABLE catga_queue_numbers (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT",
            "INSERT INTO catga_queue_numbers VALUES (1, 0)",
            # state: 0 scheduled, 1 ready, 2 leased, 3 retrying, 4 behind another of its key or of a held key, 5 done. Only the first
            # of a key is in 1 to 3. place: NULL while it is scheduled, and when it is done.
            """CREATE TABLE catga_queued (
                number INTEGER PRIMARY KEY,
                queue TEXT NOT NULL,
                message_id ANY NOT NULL,
                key TEXT,
                priority INTEGER NOT NULL,
                state INTEGER NOT NULL,
                place INTEGER,
                due_at REAL NOT NULL,
                ready_at REAL NOT NULL,
                leased INTEGER NOT NULL DEFAULT 0,
                fencing_token INTEGER NOT NULL DEFAULT 0,
                attempts INTEGER NOT NULL DEFAULT 0,
                error TEXT,
                done_at REAL,
                result BLOB,
                name TEXT NOT NULL,
                schema_version INTEGER NOT NULL,
                format TEXT NOT NULL,
                context BLOB NOT NULL,
                message_due_at REAL NOT NULL,
                created_at REAL NOT NULL,
                fingerprint TEXT NOT NULL,
                data BLOB NOT NULL
            ) STRICT""",
            "CREATE UNIQUE INDEX catga_queued_message ON catga_queued (queue, message_id)",
            "CREATE UNIQUE INDEX catga_queued_place ON catga_queued (place) WHERE place IS NOT NULL",
            "CREATE INDEX catga_queued_key ON catga_queued (queue, key, place) WHERE key IS NOT NULL AND place IS NOT NULL",
            "CREATE INDEX catga_queued_scheduled ON catga_queued (queue, due_at, number) WHERE state = 0",
            "CREATE INDEX catga_queued_ready ON catga_queued (queue, priority, place) WHERE state = 1",
            "CREATE INDEX catga_queued_leased ON catga_queued (queue, due_at) WHERE state = 2",
            "CREATE INDEX catga_queued_retrying ON catga_queued (queue, due_at) WHERE state = 3",
            "CREATE INDEX catga_queued_done ON catga_queued (done_at) WHERE done_at IS NOT NULL",
            """CREATE TABLE catga_held_keys (
                queue TEXT NOT NULL,
                key TEXT NOT NULL,
                PRIMARY KEY (queue, key)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    Migration(
        "outbox messages apart from their leases",
        (
            *(f"DROP INDEX catga_outbox_{index}" for index in ("pending", "due", "keys", "sent")),
            # What changes with each lease has narrow rows of its own, so that a lease and its end write few pages.
            """CREATE TABLE catga_outbox_pending (
                sequence INTEGER PRIMARY KEY,
                key TEXT,
                created_at REAL NOT NULL,
                due_at REAL NOT NULL DEFAULT 0,
                leased INTEGER NOT NULL DEFAULT 0,
                fencing_token INTEGER NOT NULL DEFAULT 0,
                attempts INTEGER NOT NULL DEFAULT 0,
                error TEXT
            ) STRICT""",
            """INSERT INTO catga_outbox_pending
                SELECT sequence, key, created_at, due_at, leased, fencing_token, attempts, error
                FROM catga_outbox WHERE sent_at IS NULL""",
            # Those of a key that are leased, or wait for their next attempt.
            """CREATE INDEX catga_outbox_pending_keys ON catga_outbox_pending (key, due_at, sequence)
                WHERE key IS NOT NULL AND due_at > 0""",
            """CREATE TABLE catga_outbox_sent (
                sent_at REAL NOT NULL,
                sequence INTEGER NOT NULL,
                PRIMARY KEY (sent_at, sequence)
            ) STRICT, WITHOUT ROWID""",
            "INSERT INTO catga_outbox_sent SELECT sent_at, sequence FROM catga_outbox WHERE sent_at IS NOT NULL",
            *(
                f"ALTER TABLE catga_outbox DROP COLUMN {column}"
                for column in ("due_at", "leased", "fencing_token", "attempts", "error", "sent_at")
            ),
            """CREATE TRIGGER catga_outbox_added AFTER INSERT ON catga_outbox BEGIN
                INSERT INTO catga_outbox_pending (sequence, key, created_at) VALUES (new.sequence, new.key, new.created_at);
            END""",
        ),
    ),
    Migration(
        "sagas",
        (
            # AUTOINCREMENT: fencing tokens are made of the number, so that of a pruned saga is never given again.
            # ended_at: when a saga came to an end that is pruned after a time. waits: the topics in JSON.
            """CREATE TABLE catga_sagas (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                transaction_id TEXT NOT NULL UNIQUE,
                name TEXT NOT NULL,
                version INTEGER NOT NULL,
                state TEXT NOT NULL,
                entries INTEGER NOT NULL DEFAULT 0,
                leased INTEGER NOT NULL,
                claims INTEGER NOT NULL,
                cancelling INTEGER NOT NULL DEFAULT 0,
                due_at REAL,
                created_at REAL NOT NULL,
                updated_at REAL NOT NULL,
                ended_at REAL,
                deadline REAL,
                parent TEXT,
                waits BLOB,
                outcome BLOB,
                problem BLOB,
                format TEXT NOT NULL,
                data BLOB NOT NULL
            ) STRICT""",
            "CREATE INDEX catga_sagas_due ON catga_sagas (name, leased, due_at) WHERE due_at IS NOT NULL",
            "CREATE INDEX catga_sagas_ended ON catga_sagas (ended_at) WHERE ended_at IS NOT NULL",
            "CREATE INDEX catga_sagas_parent ON catga_sagas (parent, transaction_id) WHERE parent IS NOT NULL",
            # id: the number of the saga, and the place in its journal.
            "CREATE TABLE catga_saga_entries (id INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT",
            """CREATE TABLE catga_saga_waits (
                topic TEXT NOT NULL,
                number INTEGER NOT NULL,
                PRIMARY KEY (topic, number)
            ) STRICT, WITHOUT ROWID""",
            # AUTOINCREMENT: a saga remembers the position of the last signal that it has had.
            """CREATE TABLE catga_saga_signals (
                position INTEGER PRIMARY KEY AUTOINCREMENT,
                topic TEXT NOT NULL,
                message_id TEXT NOT NULL,
                added_at REAL NOT NULL,
                data BLOB NOT NULL
            ) STRICT""",
            "CREATE UNIQUE INDEX catga_saga_signals_message ON catga_saga_signals (topic, message_id)",
            "CREATE INDEX catga_saga_signals_topic ON catga_saga_signals (topic, position)",
            "CREATE INDEX catga_saga_signals_added ON catga_saga_signals (added_at)",
        ),
    ),
)

_SCHEMA: Final = """CREATE TABLE IF NOT EXISTS catga_schema (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT"""


def migrate(connection: sqlite3.Connection, path: str, application_id: int) -> None:
    """Bring a file's tables up to date; every step is one transaction, so a kill leaves a whole schema.

    Args:
        connection: Open for writing, outside of any transaction.
        path: The file's name, for errors.
        application_id: What the file's header says, or is to say from now on.

    Raises:
        ConfigurationError: For a file of another application or of a newer Catga; it is left as it was.
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = _one_step(connection, path, application_id)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        if done:
            return


def _one_step(connection: sqlite3.Connection, path: str, application_id: int) -> bool:
    """Do what is next, if anything; return whether nothing is left."""
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found not in {0, application_id}:
        raise ConfigurationError(
            f"The SQLite file {path!r} belongs to another application: its application_id is {found:#x}. Change the path, or "
            f"set SqliteOptions(application_id={found:#x}) if the file is yours."
        )
    version = schema_version(connection)
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"The SQLite file {path!r} was written by a newer Catga: its schema version is {version}, this one supports "
            f"{len(MIGRATIONS)}. Upgrade catga-sqlite, or change the path."
        )
    if version == len(MIGRATIONS):
        return True
    connection.execute(f"PRAGMA application_id = {application_id:d}")
    connection.execute(_SCHEMA)
    step = MIGRATIONS[version]
    for statement in step.statements:
        connection.execute(statement)
    connection.execute("INSERT INTO catga_schema (version, name) VALUES (?, ?)", (version + 1, step.name))
    return version + 1 == len(MIGRATIONS)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the number of migrations that a file has had."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'catga_schema'"
    if connection.execute(query).fetchone() is None:
        return 0
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM catga_schema").fetchone()
    return int(version)
