from __future__ import annotations

import re

import pytest

from catga_core import CatgaOptions, ConfigurationError, Event, Transport, add_catga
from catga_core.interfaces import TransportCapabilities
from catga_core.memory import LocalTransport, local_bus


def test_an_empty_environment_gives_the_defaults():
    assert CatgaOptions.from_env({}) == CatgaOptions()


def test_the_processes_own_environment_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CATGA_SERVICE_NAME", "orders")

    assert CatgaOptions.from_env().service_name == "orders"


@pytest.mark.parametrize(
    ("variable", "text", "option", "value"),
    [
        ("CATGA_SERVICE_NAME", "orders", "service_name", "orders"),
        ("CATGA_TRANSPORT", "nats://localhost:4222", "transport", "nats://localhost:4222"),
        ("CATGA_TRANSPORT", "", "transport", None),
        ("CATGA_STORE", "redis://localhost", "store", "redis://localhost"),
        ("CATGA_PLUGINS", "otel, audit,", "plugins", ("otel", "audit")),
        ("CATGA_PLUGINS", "", "plugins", ()),
        ("CATGA_DISABLED_PLUGINS", "otel", "disabled_plugins", ("otel",)),
        ("CATGA_ENABLE_LOGGING", "true", "enable_logging", True),
        ("CATGA_ENABLE_LOGGING", "1", "enable_logging", True),
        ("CATGA_ENABLE_LOGGING", "On", "enable_logging", True),
        ("CATGA_ENABLE_LOGGING", "no", "enable_logging", False),
        ("CATGA_ENABLE_VALIDATION", "", "enable_validation", None),
        ("CATGA_ENABLE_VALIDATION", "off", "enable_validation", False),
        ("CATGA_TIMEOUT_SECONDS", "2.5", "timeout_seconds", 2.5),
        ("CATGA_TIMEOUT_SECONDS", "2", "timeout_seconds", 2.0),
        ("CATGA_TIMEOUT_SECONDS", "", "timeout_seconds", None),
        ("CATGA_MAX_CONCURRENT_REQUESTS", "7", "max_concurrent_requests", 7),
        ("CATGA_ENABLE_IDEMPOTENCY", "yes", "enable_idempotency", True),
        ("CATGA_ENABLE_OUTBOX", "on", "enable_outbox", True),
        ("CATGA_ENABLE_OUTBOX_RELAY", "off", "enable_outbox_relay", False),
        ("CATGA_ENABLE_INBOX", "1", "enable_inbox", True),
        ("CATGA_ENABLE_DEAD_LETTER_QUEUE", "true", "enable_dead_letter_queue", True),
        ("CATGA_OUTBOX_BATCH_SIZE", "8", "outbox_batch_size", 8),
        ("CATGA_IDEMPOTENCY_WAIT_SECONDS", "0", "idempotency_wait_seconds", 0.0),
    ],
)
def test_each_variable_sets_its_option(variable: str, text: str, option: str, value: object):
    assert getattr(CatgaOptions.from_env({variable: text}), option) == value


def test_variables_of_others_are_left_alone():
    assert CatgaOptions.from_env({"PATH": "/bin", "CATGAX": "1", "catga_transport": "x"}) == CatgaOptions()


def test_everything_that_cannot_be_read_is_listed_at_once():
    with pytest.raises(ConfigurationError) as raised:
        CatgaOptions.from_env(
            {
                "CATGA_TRANSPROT": "nats://",
                "CATGA_TIMEOUT_SECONDS": "soon",
                "CATGA_MAX_CONCURRENT_REQUESTS": "",
            }
        )

    many, late, unknown = raised.value.problems
    assert re.search("^CATGA_MAX_CONCURRENT_REQUESTS .* Expected `int`", many)
    assert re.search(r"^CATGA_TIMEOUT_SECONDS .* Expected `float \| null`", late)
    assert re.search("CATGA_TRANSPROT .* 'CATGA_TRANSPORT'", unknown)


def test_a_variable_that_is_near_to_none_is_told_what_there_is():
    with pytest.raises(ConfigurationError, match=r"CATGA_SERVICE_NAME.*CATGA_TRANSPORT"):
        CatgaOptions.from_env({"CATGA_QQQQQQQQQQQQQQQ": "1"})


def test_values_that_can_be_read_and_cannot_work_are_refused():
    with pytest.raises(ConfigurationError, match=r"timeout_seconds must be .* got -1\.0"):
        CatgaOptions.from_env({"CATGA_TIMEOUT_SECONDS": "-1"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"outbox_batch_size": 0}, "^outbox_batch_size must be .* got 0"),
        (
            {"outbox_max_attempts": 0},
            "^outbox_max_attempts must be .* got 0",
        ),
        (
            {"outbox_retry_delay_seconds": 10, "outbox_retry_max_delay_seconds": 5},
            "^outbox_retry_delay_seconds .*10.* outbox_retry_max_delay_seconds .*5",
        ),
        *(
            ({name: value}, f"^{name} must be .* got {value}")
            for name, value in [
                ("idempotency_ttl_seconds", 0),
                ("idempotency_lease_seconds", -1),
                ("idempotency_wait_seconds", -1),
                ("outbox_lease_seconds", 0),
                ("outbox_poll_seconds", float("inf")),
                ("outbox_retry_delay_seconds", 0),
                ("outbox_retention_seconds", 0),
                ("outbox_alarm_seconds", 0),
                ("inbox_retention_seconds", 0),
                ("prune_interval_seconds", float("nan")),
            ]
        ),
    ],
)
def test_what_cannot_work_of_reliability_is_refused(options: dict[str, float], told: str):
    with pytest.raises(ConfigurationError) as raised:
        add_catga(CatgaOptions(**options))  # type: ignore[arg-type]

    (problem,) = raised.value.problems
    assert re.search(told, problem)


class Happened(Event):
    pass


class RemoteTransport(LocalTransport):
    @property
    def capabilities(self) -> TransportCapabilities:
        return TransportCapabilities(remote=True)


@pytest.mark.parametrize(
    ("name", "transport", "events", "runs"),
    [
        (None, RemoteTransport, True, False),
        ("app", RemoteTransport, True, False),
        ("orders", RemoteTransport, True, True),
        (None, RemoteTransport, False, True),
        (None, LocalTransport, True, True),
        (None, None, True, True),
    ],
)
async def test_what_listens_for_events_over_a_server_has_to_be_given_a_name(
    name: str | None, transport: type[LocalTransport] | None, events: bool, runs: bool
):
    async def on_happened(message: Happened) -> None: ...

    catga = add_catga(CatgaOptions() if name is None else CatgaOptions(service_name=name))
    if transport is not None:
        catga.add_singleton(Transport, transport(local_bus("names")))
    if events:
        catga.add_handlers(on_happened)

    if runs:
        async with catga.running():
            return
    with pytest.raises(ConfigurationError) as raised:
        async with catga.running():
            pass

    assert re.search(r"Happened.* 'app'.*service_name=", str(raised.value))


def test_variables_of_a_named_plugin_are_left_to_the_plugin():
    environment = {"CATGA_PLUGINS": "otel, side-car", "CATGA_SIDE_CAR_FILE": "a.db", "CATGA_OTEL_X": "1"}

    assert CatgaOptions.from_env(environment).plugins == ("otel", "side-car")


@pytest.mark.parametrize("plugins", ["", "side", "car"])
def test_variables_of_a_plugin_that_is_not_named_are_refused(plugins: str):
    with pytest.raises(ConfigurationError, match="CATGA_SIDECAR_FILE"):
        CatgaOptions.from_env({"CATGA_PLUGINS": plugins, "CATGA_SIDECAR_FILE": "a.db"})
