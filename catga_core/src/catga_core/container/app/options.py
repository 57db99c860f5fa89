"""What can be configured, in code or by the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.feature_options import is_feature_variable
from catga_core.option_checks import MOST_COUNT, MOST_SECONDS, OptionsType, check_count, check_seconds
from catga_core.url_options import shown_url, suggestion

_PREFIX = "CATGA_"

_COUNTS = ("max_event_bytes", "max_concurrent_requests", "outbox_batch_size", "outbox_max_attempts")
_MAY_BE_ZERO = frozenset({"shutdown_timeout_seconds", "idempotency_wait_seconds"})

DEFAULT_SERVICE_NAME = "app"
"""What a service is called that was given no name; a subscriber of events over a server needs its own."""


class CatgaOptions(msgspec.Struct, frozen=True, kw_only=True, metaclass=OptionsType):
    """How a container is set up; every option does what it says and nothing else.

    Args:
        service_name: This service's name; its replicas share it and share each event's deliveries. What listens for
            events over a server has to be given one.
        transport: A URL whose scheme names a transport plugin, such as `nats://localhost:4222`; `None` for one process.
        store: A URL whose scheme names a store plugin; `None` for none.
        serializer: The name of a serializer plugin: `msgpack` or `json`.
        plugins: Names of further plugins to load, of the groups `catga.features` and `catga.behaviors`.
        disabled_plugins: Names of plugins that are never loaded, even if requested.
        enable_logging: Write a line for each message handled here.
        enable_validation: Check messages against their types and constraints before they are handled: `None` where the
            message declares constraints or a validator is registered for it, `True` for every message, `False` never.
        timeout_seconds: How long handling a request may take before it fails with `TIMEOUT`; `None` for no limit.
        max_concurrent_requests: How many messages of one subscription are handled at the same time; a request beyond
            fails with `CONCURRENCY_LIMITED` at once.
        shutdown_timeout_seconds: How long a stopping container waits for what is in flight.
        start_timeout_seconds: How long each hosted service may take to start.
        loop_block_warning_seconds: Log a warning with the handler's name where one blocks the event loop for so long; `None` for
            never.
        max_event_bytes: An event with more bytes is refused by the event store before anything is written.
        enable_idempotency: Do every command once for each message id; without it only those marked `@idempotent`.
        idempotency_ttl_seconds: How long a command's result is remembered.
        idempotency_lease_seconds: How long a command whose process died keeps others from doing it; renewed while it runs.
        idempotency_wait_seconds: How long a duplicate waits for the first one's result before it fails with
            `DUPLICATE_IN_PROGRESS`; 0 for not at all.
        enable_outbox: Handle every command and event in a unit of work, but for handlers with `@own_units_of_work`, and send
            what is published in one after its commit.
        enable_outbox_relay: Send the outbox's messages from this process; without it another has to.
        outbox_batch_size: How many messages of the outbox are under way at the same time.
        outbox_lease_seconds: How long messages of a relay that died wait for another one; renewed while they are sent.
        outbox_poll_seconds: How often the outbox is looked at where nothing tells that there is something in it.
        outbox_max_attempts: After so many tries a message goes to the dead letters.
        outbox_retry_delay_seconds: The time until the second try, doubled with each further one.
        outbox_retry_max_delay_seconds: The longest time between two tries.
        outbox_retention_seconds: How long sent messages are kept.
        outbox_alarm_seconds: When the oldest message has waited so long, health is degraded and an error is logged.
        enable_queues: Keep events that are delivered at least once, and commands that are enqueued, in queues until they are
            handled; `add_queues(catga, QueueOptions(...))` for more options.
        enable_inbox: Handle every event in a unit of work, once for each message id and handler.
        inbox_retention_seconds: How long it is remembered which handler has had which event.
        enable_dead_letter_queue: Keep each event that a handler failed for.
        prune_interval_seconds: How often what need not be remembered any longer is removed.
    """

    service_name: str = DEFAULT_SERVICE_NAME
    transport: str | None = None
    store: str | None = None
    serializer: str = "msgpack"
    plugins: tuple[str, ...] | list[str] = ()
    disabled_plugins: tuple[str, ...] | list[str] = ()
    enable_logging: bool = False
    enable_validation: bool | None = None
    timeout_seconds: float | None = None
    max_concurrent_requests: int = 256
    shutdown_timeout_seconds: float = 30.0
    start_timeout_seconds: float = 30.0
    loop_block_warning_seconds: float | None = 0.2
    max_event_bytes: int = 1_048_576
    enable_idempotency: bool = False
    idempotency_ttl_seconds: float = 86_400.0
    idempotency_lease_seconds: float = 30.0
    idempotency_wait_seconds: float = 30.0
    enable_outbox: bool = False
    enable_outbox_relay: bool = True
    outbox_batch_size: int = 64
    outbox_lease_seconds: float = 30.0
    outbox_poll_seconds: float = 1.0
    outbox_max_attempts: int = 20
    outbox_retry_delay_seconds: float = 1.0
    outbox_retry_max_delay_seconds: float = 300.0
    outbox_retention_seconds: float = 3_600.0
    outbox_alarm_seconds: float = 60.0
    enable_queues: bool = False
    enable_inbox: bool = False
    inbox_retention_seconds: float = 604_800.0
    enable_dead_letter_queue: bool = False
    prune_interval_seconds: float = 60.0

    def __repr__(self) -> str:
        # Options are printed and logged whole, and a URL may have a password in it.
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = (
            f"{name}={shown_url(value)}" if name in {"transport", "store"} else f"{name}={value!r}"
            for name, value in values
        )
        return f"CatgaOptions({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Give rich what `repr` shows."""
        shown: list[tuple[str, Any]] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            shown.append((name, _Shown(shown_url(value)) if name in {"transport", "store"} else value))
        return shown

    @staticmethod
    def from_env(environment: Mapping[str, str] | None = None) -> CatgaOptions:
        """Read the options from the environment: `CATGA_SERVICE_NAME`, `CATGA_TRANSPORT`, `CATGA_PLUGINS=a,b` and so on.

        Variables such as `CATGA_AUDIT_FILE` are left to the plugin `audit` where `CATGA_PLUGINS` names it.

        Args:
            environment: `None` for the process's own.

        Raises:
            ConfigurationError: Naming every variable that is unknown or cannot be read.
        """
        found = os.environ if environment is None else environment
        fields = {field.name: field.type for field in msgspec.structs.fields(CatgaOptions)}
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable in sorted(name for name in found if name.startswith(_PREFIX)):
            name = variable.removeprefix(_PREFIX).lower()
            if name not in fields:
                if is_feature_variable(variable) or _is_for_plugin(variable, found):
                    continue
                known = [_PREFIX + field.upper() for field in fields]
                problems.append(f"{variable} is not an option: {suggestion(variable, known)}")
                continue
            try:
                values[name] = _read(found[variable], fields[name])
            except msgspec.ValidationError as cause:
                problems.append(f"{variable} is invalid: {cause}. Correct its value.")
        if problems:
            raise ConfigurationError(problems)
        options = CatgaOptions(**values)
        check_options(options)
        return options


class _Shown(str):
    """A text that is its own `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _is_for_plugin(variable: str, environment: Mapping[str, str]) -> bool:
    # Not imported yet; when the plugin is loaded, the from_env() of its options refuses what it does not know.
    named = _read(environment.get(f"{_PREFIX}PLUGINS", ""), tuple[str, ...])
    return any(variable.startswith(f"{_PREFIX}{name.replace('-', '_').upper()}_") for name in named)


def check_options(options: CatgaOptions) -> None:
    """Refuse values that cannot work.

    Raises:
        ConfigurationError: Naming each option, what is wrong with it and what is possible.
    """
    problems = _wrong_types(options)
    if problems:
        # What is of another type cannot be compared.
        raise ConfigurationError(problems)
    allowed = options.service_name.replace("_", "").replace("-", "")
    if not (allowed.isalnum() and allowed.isascii()):
        problems.append(
            f"service_name must consist of ASCII letters, digits, '_' and '-'; got {options.service_name!r}. Rename the service."
        )
    problems += _unusable_counts(options)
    for field in msgspec.structs.fields(CatgaOptions):
        name = field.name
        seconds = getattr(options, name)
        if not name.endswith("_seconds") or seconds is None:
            continue
        try:
            check_seconds(name, seconds, least=0 if name in _MAY_BE_ZERO else None, most=MOST_SECONDS)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError(problems)


def _unusable_counts(options: CatgaOptions) -> list[str]:
    problems: list[str] = []
    for name in _COUNTS:
        count = getattr(options, name)
        try:
            check_count(name, count, most=MOST_COUNT if count > MOST_COUNT else None)
        except ValueError as error:
            problems.append(str(error))
    first, longest = options.outbox_retry_delay_seconds, options.outbox_retry_max_delay_seconds
    if first > longest:
        problems.append(
            f"outbox_retry_delay_seconds ({first:g}) must not exceed outbox_retry_max_delay_seconds ({longest:g}). "
            "Raise the second, or lower the first."
        )
    return problems


def _wrong_types(options: CatgaOptions) -> list[str]:
    problems: list[str] = []
    for field in msgspec.structs.fields(CatgaOptions):
        value = getattr(options, field.name)
        if _is_names(field.type):
            # A bare string would be taken for its letters.
            if not (isinstance(value, (tuple, list)) and _all_texts(cast("list[Any]", value))):
                problems.append(
                    f"{field.name} must be a list of strings; got {value!r}. Write {field.name}=['...']."
                )
            continue
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError as cause:
            shown = shown_url(value) if field.name in {"transport", "store"} else repr(value)
            problems.append(f"{field.name} has the wrong type; got {shown}. {cause}.")
    return problems


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def _is_names(type_: Any) -> bool:
    return "tuple" in str(type_)


def _read(text: str, type_: Any) -> Any:
    if _is_names(type_):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if type_ is str:
        return text
    if type_ == str | None:
        return text or None
    lowered = {"yes": "true", "on": "true", "no": "false", "off": "false", "": "null"}.get(text.lower(), text)
    return msgspec.convert(lowered, type_, strict=False)
