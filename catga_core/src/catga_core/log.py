"""Catga's own log: one structlog logger, event names as constants, never a payload."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

STARTED = "catga.started"
STOPPED = "catga.stopped"
STOP_FAILED = "catga.stop_failed"
PLUGINS_LOADED = "catga.plugins_loaded"
MESSAGE_HANDLED = "catga.message_handled"
MESSAGE_FAILED = "catga.message_failed"
EVENT_HANDLER_FAILED = "catga.event_handler_failed"
MESSAGE_REFUSED = "catga.message_refused"
MESSAGE_CANCELLED = "catga.message_cancelled"
CONNECTION_LOST = "catga.connection_lost"
CONNECTION_RESTORED = "catga.connection_restored"
CONNECTION_ERROR = "catga.connection_error"
SISTER_MISMATCH = "catga.sister_version_mismatch"


@functools.cache
def logger() -> FilteringBoundLogger:
    """Return Catga's logger; the application's `structlog.configure` decides where it writes.

    structlog is imported at the first line that is logged: it costs as much as importing asyncio.
    """
    import structlog

    made: Any = structlog.get_logger("catga")
    return made  # type: ignore[no-any-return]


def traceback_of(error: BaseException | None) -> str | None:
    """Return an exception's traceback as plain text, `None` for none.

    structlog's own rendering of `exc_info` may print local variables, and those hold payloads. Given as `stack`, the text
    stands on lines of its own on a console.
    """
    if error is None:
        return None
    import traceback

    return "".join(traceback.format_exception(error))
