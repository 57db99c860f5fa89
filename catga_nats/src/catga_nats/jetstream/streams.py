"""Declares the streams: all or none, and none that exists with other settings is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from catga_core.errors import CatgaError, ConfigurationError
from catga_nats.connection import NatsConnection
from catga_nats.jetstream.api import (
    CONSUMER_NOT_FOUND,
    STREAM_NOT_FOUND,
    ApiError,
    NoJetStreamError,
    call,
)
from catga_nats.jetstream.layout import Layout
from catga_nats.jetstream.options import JetStreamOptions

_NANOSECONDS = 1_000_000_000
_API_LEVEL = 1  # nats-server 2.11: time to live of single messages
_SCHEDULES = "allow_msg_schedules"
_SCHEDULES_LEVEL = 2  # nats-server 2.12
_NOT_ENABLED = (10039, 10076)


def nanoseconds(seconds: float) -> int:
    """Return seconds as the server counts them."""
    return int(seconds * _NANOSECONDS)


def wanted_streams(
    layout: Layout, options: JetStreamOptions, *, server_schedules: bool
) -> list[dict[str, Any]]:
    """Return the configuration of every stream.

    Args:
        layout: The names.
        options: The options.
        server_schedules: Whether the server publishes commands whose time has come.
    """
    shared = {
        "storage": options.storage,
        "num_replicas": options.replicas,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "discard": "old",
        "duplicate_window": nanoseconds(options.duplicate_window_seconds),
    }
    bucket = {
        **shared,
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "allow_msg_ttl": True,
    }
    age = nanoseconds(options.result_seconds)
    return [
        {
            **shared,
            "name": layout.events_stream,
            "subjects": [f"{layout.events}.>"],
            # An event is kept until the last queue has settled it; one that no queue takes is not kept.
            "retention": "interest",
            "discard": "new",
            "max_bytes": options.max_event_bytes or -1,
        },
        {
            **shared,
            "name": layout.commands_stream,
            "subjects": [f"{layout.commands}.>", f"{layout.schedules}.>"],
            "retention": "workqueue",
            # The server does not combine schedules with "new"; without limits, "old" drops nothing.
            _SCHEDULES: server_schedules,
        },
        {
            **shared,
            "name": layout.parked_stream,
            "subjects": [f"{layout.parked}.>"],
            "retention": "workqueue",
        },
        {**bucket, "name": f"KV_{layout.state_bucket}", "subjects": [f"$KV.{layout.state_bucket}.>"]},
        {
            **bucket,
            "name": f"KV_{layout.results_bucket}",
            "subjects": [f"$KV.{layout.results_bucket}.>"],
            "max_age": age,
            "duplicate_window": min(age, nanoseconds(options.duplicate_window_seconds)),
        },
    ]


async def server_schedules(connection: NatsConnection, layout: Layout, options: JetStreamOptions) -> bool:
    """Return whether the server publishes commands whose time has come: as the options say, else as it was declared, else if it can.

    Args:
        connection: The connection.
        layout: The names.
        options: The options.

    Raises:
        ConfigurationError: The server cannot do what is asked of it.
        CatgaError: The connection fails.
    """
    can = await _api_level(connection) >= _SCHEDULES_LEVEL
    if options.schedules is None:
        found = await stream_config(connection, layout.commands_stream)
        return can if found is None else bool(found.get(_SCHEDULES))
    if options.schedules == "server" and not can:
        raise ConfigurationError(
            f"the NATS server at {connection.shown} has no schedules: run nats-server 2.12 or newer, or set schedules='framework' in "
            "JetStreamOptions"
        )
    return options.schedules == "server"


async def declare_streams(connection: NatsConnection, wanted: Sequence[dict[str, Any]]) -> list[str]:
    """Create the streams that do not exist; where that fails, none stays behind.

    Args:
        connection: The connection.
        wanted: Their configurations.

    Returns:
        The streams that were created.

    Raises:
        ConfigurationError: The server cannot keep them, or one exists with other settings.
        CatgaError: The connection fails.
    """
    missing: list[dict[str, Any]] = []
    problems: list[str] = []
    for config in wanted:
        found = await stream_config(connection, config["name"])
        if found is None:
            missing.append(config)
            problems += await _owners(connection, config)
        else:
            problems += differences(f"the stream {config['name']}", config, found)
    if problems:
        raise ConfigurationError(problems)
    created: list[str] = []
    try:
        for config in missing:
            created += await _create(connection, config)
    except BaseException:
        for name in reversed(created):
            with suppress(ApiError, NoJetStreamError, CatgaError):
                await call(connection, f"STREAM.DELETE.{name}")
        raise
    return created


async def _create(connection: NatsConnection, config: dict[str, Any]) -> list[str]:
    """Create a stream; return its name where no other process has created it meanwhile."""
    try:
        # An older server refuses a setting that it does not know, whatever its value.
        known = {key: value for key, value in config.items() if value is not False}
        answer = await call(connection, f"STREAM.CREATE.{config['name']}", known)
    except ApiError as error:
        raise ConfigurationError(_refused(config, error)) from error
    return [config["name"]] if answer.get("did_create") else []


async def stream_config(connection: NatsConnection, name: str) -> dict[str, Any] | None:
    """Return the configuration of a stream, `None` where it does not exist."""
    return await _existing(connection, f"STREAM.INFO.{name}")


async def consumer_config(connection: NatsConnection, stream: str, name: str) -> dict[str, Any] | None:
    """Return the configuration of a consumer, `None` where it does not exist."""
    return await _existing(connection, f"CONSUMER.INFO.{stream}.{name}")


def differences(what: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return a problem for each setting that is another one than wanted.

    Args:
        what: What is compared, as errors name it.
        wanted: The settings that matter.
        found: All settings there are. The server leaves out those that are empty.
    """
    problems: list[str] = []
    for setting, value in wanted.items():
        other = found.get(setting, type(value)())
        if _comparable(value) != _comparable(other):
            problems.append(
                f"{what} exists with {setting}={_shown(setting, other)}, and the options ask for {_shown(setting, value)}. It is not "
                "changed: correct the options, or edit it with the nats tool"
            )
    return problems


async def _existing(connection: NatsConnection, what: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = (await call(connection, what))["config"]
    except ApiError as error:
        if error.number in (STREAM_NOT_FOUND, CONSUMER_NOT_FOUND):
            return None
        raise
    return found


async def _api_level(connection: NatsConnection) -> int:
    """Return which features JetStream has there.

    Raises:
        ConfigurationError: There is no JetStream, or it is too old.
        CatgaError: The connection fails.
    """
    try:
        info = await call(connection, "INFO")
    except NoJetStreamError:
        raise ConfigurationError(_no_jetstream(connection)) from None
    except ApiError as error:
        if error.number in _NOT_ENABLED:
            raise ConfigurationError(_no_jetstream(connection)) from error
        raise ConfigurationError(f"JetStream at {connection.shown} cannot be used: {error.text}") from error
    level: int = info.get("api", {}).get("level", 0)
    if level < _API_LEVEL:
        raise ConfigurationError(
            f"the NATS server at {connection.shown} has JetStream's API level {level}, and queues need {_API_LEVEL}: "
            "run nats-server 2.11 or newer"
        )
    return level


async def _owners(connection: NatsConnection, config: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    for subject in config["subjects"]:
        found = await call(connection, "STREAM.NAMES", {"subject": subject})
        problems += [
            f"the subject {subject} belongs to the stream {owner}, and {config['name']} needs it: set another subject_prefix, or "
            "take the subject out of that stream"
            for owner in found.get("streams") or ()
            # Its own is there by now where another process has just created it.
            if owner != config["name"]
        ]
    return problems


def _no_jetstream(connection: NatsConnection) -> str:
    return (
        f"the NATS server at {connection.shown} has no JetStream for this account: enable it there, "
        "or remove enable_jetstream"
    )


def _refused(config: dict[str, Any], error: ApiError) -> str:
    return (
        f"the stream {config['name']} cannot be created: {error.text}. Nothing was created. Check the account's limits and "
        "permissions, and replicas, storage and max_event_bytes in JetStreamOptions"
    )


def _comparable(value: Any) -> Any:
    """Return a setting so that the order of several does not matter."""
    return {*map(str, value)} if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]


def _shown(setting: str, value: Any) -> str:
    if setting in {"max_age", "duplicate_window", "ack_wait"}:
        return f"{value / _NANOSECONDS:g}s"
    return repr(value)
