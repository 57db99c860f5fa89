"""What may lose or double messages that JetStream has acknowledged: settings, the server's version, and streams of others."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from catga_core.errors import CatgaError
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import ApiError, NoJetStreamError, call
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.options import JetStreamOptions

_NUMBERS = re.compile(r"(\d+)\.(\d+)")
_SOUND = (2, 15)
"""Before it, a compaction leaves out the flush of `sync_interval: always` (nats-server #8475), and schedules of a replicated stream
that another one sources are dropped (#8423)."""


async def weaknesses_at(
    connection: NatsConnection,
    layout: Layout,
    options: JetStreamOptions,
    *,
    server_schedules: bool,
    request_timeout: float,
) -> dict[str, str]:
    """Return what weakens a promise, and how; what a client cannot ask for, `sync_interval`, is in docs/nats-layout.md.

    Args:
        connection: The connection.
        layout: The names.
        options: The options.
        server_schedules: Whether the server publishes commands whose time has come.
        request_timeout: Seconds after which a publish is given up.
    """
    weak = dict(options.weaknesses)
    if options.duplicate_window_seconds < 2 * request_timeout:
        name = f"duplicate_window_seconds={options.duplicate_window_seconds:g}"
        weak[name] = f"a publish that is repeated after request_timeout={request_timeout:g} may be kept twice"
    client = connection.client
    version = "" if client is None else client.server_version
    numbers = _NUMBERS.match(version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < _SOUND:
        fixed = ".".join(map(str, _SOUND))
        weak[f"nats-server {version}"] = (
            f"known losses with sync_interval=always and of sourced schedules, fixed in {fixed}"
        )
    if server_schedules and (other := await _sourced_by(connection, layout.commands_stream)):
        weak[f"the stream {other} sources {layout.commands_stream}"] = (
            "the server forgets schedules of a sourced stream; set schedules='framework'"
        )
    return weak


async def _sourced_by(connection: NatsConnection, stream: str) -> str | None:
    """Return a stream that copies another one; `None` for none, and where it may not be asked."""
    offset = 0
    with suppress(CatgaError, ApiError, NoJetStreamError):
        while True:
            page = await call(connection, "STREAM.LIST", {"offset": offset})
            streams: list[dict[str, Any]] = page["streams"] or []
            for each in streams:
                config: dict[str, Any] = each["config"]
                copied: list[dict[str, Any]] = [*(config.get("sources") or ()), config.get("mirror") or {}]
                if any(source.get("name") == stream for source in copied):
                    return str(config["name"])
            offset += len(streams)
            if not streams or offset >= page["total"]:
                return None
    return None
