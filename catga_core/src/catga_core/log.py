"""Catga's own log: one structlog logger, event names as constants, never a payload."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

STARTED = "catga.started"
STOPPED = "catga.stopped"
STATE_IN_MEMORY = "catga.state_in_memory"
JETSTREAM_DURABILITY = "catga.jetstream_durability"
JETSTREAM_DECLARED_AGAIN = "catga.jetstream_declared_again"
SIGNALS_IGNORED = "catga.signals_ignored"
LEFT_IN_FLIGHT = "catga.left_in_flight"
STOP_FAILED = "catga.stop_failed"
WORKER_FAILED = "catga.worker_failed"
PLUGINS_LOADED = "catga.plugins_loaded"
MESSAGE_HANDLED = "catga.message_handled"
MESSAGE_FAILED = "catga.message_failed"
HANDLER_RAISED = "catga.handler_raised"
RESULT_REFUSED = "catga.result_refused"
EVENT_NOT_MATCHED = "catga.event_not_matched"
EVENT_HANDLER_FAILED = "catga.event_handler_failed"
MESSAGE_REFUSED = "catga.message_refused"
MESSAGE_CANCELLED = "catga.message_cancelled"
CONNECTION_LOST = "catga.connection_lost"
CONNECTION_RESTORED = "catga.connection_restored"
CONNECTION_ERROR = "catga.connection_error"
PERMISSION_DENIED = "catga.permission_denied"
PERMISSION_GRANTED = "catga.permission_granted"
RESPONSE_DROPPED = "catga.response_dropped"
DUPLICATE_SKIPPED = "catga.duplicate_skipped"
DEAD_LETTER = "catga.dead_letter"
LETTER_REPLAYED = "catga.dead_letter_replayed"
DEAD_LETTER_LOST = "catga.dead_letter_lost"
DEAD_LETTERS_GROW = "catga.dead_letters_grow"
DEAD_LETTERS_RECOVERED = "catga.dead_letters_recovered"
DEAD_LETTERS_UNREACHABLE = "catga.dead_letters_unreachable"
OUTBOX_STALLED = "catga.outbox_stalled"
OUTBOX_RECOVERED = "catga.outbox_recovered"
OUTBOX_SEND_FAILED = "catga.outbox_send_failed"
OUTBOX_UNREACHABLE = "catga.outbox_unreachable"
OUTBOX_NOT_RELAYED = "catga.outbox_not_relayed"
OUTBOX_EVENT_UNHANDLED = "catga.outbox_event_unhandled"
QUEUE_UNREACHABLE = "catga.queue_unreachable"
QUEUE_STALLED = "catga.queue_stalled"
QUEUE_RECOVERED = "catga.queue_recovered"
MESSAGE_RETRIED = "catga.message_retried"
MESSAGE_NOT_SETTLED = "catga.message_not_settled"
SCHEDULE_FAILED = "catga.schedule_failed"
SCHEDULE_UNHANDLED = "catga.schedule_unhandled"
TICK_CONFLICTED = "catga.tick_conflicted"
TICK_SKIPPED = "catga.tick_skipped"
TICKS_MISSED = "catga.ticks_missed"
SAGA_PARKED = "catga.saga_parked"
SAGA_STEP_RETRIED = "catga.saga_step_retried"
SAGA_COMPENSATING = "catga.saga_compensating"
SAGA_COMPENSATION_FAILED = "catga.saga_compensation_failed"
SAGA_RECOVERY_FAILED = "catga.saga_recovery_failed"
KEY_HELD = "catga.key_held"
PRUNING_FAILED = "catga.pruning_failed"
COMMAND_REPEATED = "catga.command_repeated"
CLAIM_NOT_RELEASED = "catga.claim_not_released"
RESULT_NOT_RECORDED = "catga.result_not_recorded"
LEASE_LOST = "catga.lease_lost"
LEASE_NOT_RENEWED = "catga.lease_not_renewed"
LOCK_NOT_RELEASED = "catga.lock_not_released"
SISTER_MISMATCH = "catga.sister_version_mismatch"
SNAPSHOT_FAILED = "catga.snapshot_failed"
SNAPSHOT_IGNORED = "catga.snapshot_ignored"
AFTER_COMMIT_FAILED = "catga.after_commit_failed"
# By the kind of consumer.
CONSUMER_STARTED = {"projection": "catga.projection_started", "subscription": "catga.subscription_started"}
CONSUMER_FAILED = {"projection": "catga.projection_failed", "subscription": "catga.subscription_failed"}
CONSUMER_STOPPED = {"projection": "catga.projection_stopped", "subscription": "catga.subscription_stopped"}
CONSUMER_LEASE_LOST = {
    "projection": "catga.projection_lease_lost",
    "subscription": "catga.subscription_lease_lost",
}
EVENT_RETRIED = {"projection": "catga.projection_retried", "subscription": "catga.subscription_retried"}
LOG_END_LOST = "catga.log_end_lost"
EVENT_PARKED = "catga.event_parked"
EVENT_SKIPPED = "catga.event_skipped"
EVENT_UNKNOWN = "catga.event_unknown"
PROJECTION_SWITCHED = "catga.projection_switched"
PROJECTION_SUPERSEDED = "catga.projection_superseded"
PARTITION_SHARING_FAILED = "catga.partition_sharing_failed"
PARKED_EVENT_REPLAYED = "catga.parked_event_replayed"
PARKED_EVENT_FAILED = "catga.parked_event_failed"
LOOP_BLOCKED = "catga.loop_blocked"
REDIS_DURABILITY = "catga.redis_durability"


class SafeLogger:
    """structlog's logger, except that a line which cannot be written never changes what the program does.

    A full disk or a closed pipe must not fail a message, end a connection or keep a container from stopping.

    Args:
        inner: Structlog's logger, used once the application has configured structlog.
        is_configured: Returns whether it has. Until then lines go to stderr: stdout is the application's.
    """

    __slots__ = ("_is_configured", "_to_stderr", "inner", "lost")

    def __init__(self, inner: FilteringBoundLogger, is_configured: Callable[[], bool]) -> None:
        self.inner: FilteringBoundLogger = inner
        self.lost: int = 0
        self._is_configured = is_configured
        self._to_stderr: FilteringBoundLogger | None = None

    def debug(self, event: str, **facts: Any) -> None:
        """Write a line for who looks into Catga itself."""
        self._write("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        """Write a line about what went as it should."""
        self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Write a line about what somebody may want to look at."""
        self._write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Write a line about what somebody has to look at."""
        self._write("error", event, facts)

    def _write(self, level: str, event: str, facts: dict[str, Any]) -> None:
        try:
            getattr(self.inner if self._is_configured() else self._default(), level)(event, **facts)
        except Exception:  # noqa: BLE001 - whatever the application's processors raise
            self.lost += 1

    def _default(self) -> FilteringBoundLogger:
        if self._to_stderr is None:
            self._to_stderr = _stderr_logger()
        return self._to_stderr


class _Stderr:
    """Writes lines to stderr, as it is at that moment; structlog calls the method of a level."""

    def debug(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    info = warning = error = debug


def _stderr_logger() -> FilteringBoundLogger:
    """Return a logger with structlog's default processors that writes to stderr, and colors where that is a terminal."""
    import structlog

    forced, refused = os.environ.get("FORCE_COLOR"), os.environ.get("NO_COLOR")
    colors = not refused and (bool(forced) or (sys.stderr.isatty() and sys.platform != "win32"))
    *processors, _renderer = structlog.get_config()["processors"]
    made: FilteringBoundLogger = structlog.wrap_logger(
        _Stderr(), processors=[*processors, structlog.dev.ConsoleRenderer(colors=colors)]
    )
    return made


@functools.cache
def logger() -> SafeLogger:
    """Return Catga's logger; the application's `structlog.configure` decides where it writes, else it writes to stderr.

    structlog is imported at the first line that is logged: it costs as much as importing asyncio.
    """
    import structlog

    return SafeLogger(structlog.get_logger("catga"), structlog.is_configured)


def traceback_of(error: BaseException | None) -> str | None:
    """Return an exception's traceback as plain text, `None` for none.

    structlog's own rendering of `exc_info` may print local variables, and those hold payloads. Given as `stack`, the text
    stands on its own lines on a console.
    """
    if error is None:
        return None
    import traceback

    return "".join(traceback.format_exception(error))
