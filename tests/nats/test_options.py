from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catga_core.clock import SystemClock
from catga_core.errors import ConfigurationError
from catga_core.messages.serialization import msgpack_serializer
from catga_nats import NatsOptions, NatsTransport, add_nats_catga, add_nats_transport


def test_servers_are_read_from_a_text_or_a_sequence() -> None:
    expected = ("nats://a:4222", "nats://b:5222")
    assert NatsOptions("nats://a:4222,nats://b:5222").server_urls == expected
    assert NatsOptions("nats://a, b:5222").server_urls == expected
    assert NatsOptions(["nats://a", "nats://b:5222/"]).server_urls == expected
    assert NatsOptions("a,b:5222").server_urls == expected
    assert NatsOptions("tls://a,b:5222").server_urls == ("tls://a:4222", "tls://b:5222")
    assert NatsOptions("nats://[::1]:4222").server_urls == ("nats://[::1]:4222",)


def test_credentials_in_a_url_become_options_and_are_never_shown() -> None:
    options = NatsOptions("nats://me:p%40ss@a:4222,b:4222")
    assert (options.user, options.password) == ("me", "p@ss")
    assert options.server_urls == ("nats://a:4222", "nats://b:4222")
    assert "p@ss" not in repr(options)
    assert NatsOptions("nats://s3cret@a").token == "s3cret"
    assert "s3cret" not in repr(NatsOptions("nats://s3cret@a"))


def test_every_option_can_stand_in_a_url() -> None:
    options = NatsOptions.from_url(
        "nats://u:p@a:4222,b:4222?name=orders&request_timeout=5&connect_timeout=1.5&max_payload=4096&tls_verify=false"
        "&while_disconnected=wait&envelope=headers&serializer=json&subject_prefix=shop&ping_interval=3"
    )
    assert options.server_urls == ("nats://a:4222", "nats://b:4222")
    assert (options.name, options.request_timeout, options.connect_timeout) == ("orders", 5.0, 1.5)
    assert (options.max_payload, options.tls_verify, options.wants_tls) == (4096, False, True)
    assert (options.while_disconnected, options.envelope, options.serializer) == ("wait", "headers", "json")
    assert (options.subject_prefix, options.ping_interval) == ("shop", 3.0)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "nats://a?reqest_timeout=5",
            "'reqest_timeout', which is not an option: did you mean 'request_timeout'?",
        ),
        (
            "nats://a?jetstream=true&replicas=3",
            "Pass NatsOptions(url, jetstream=JetStreamOptions(replicas=...)).",
        ),
        ("nats://a?jetstream=true&order_group=3", "did you mean 'order_groups'? A URL cannot set it."),
        ("nats://a?max_event_bytes=3", "jetstream=JetStreamOptions(max_event_bytes=...)"),
        ("nats://a?duplicate_window=3", "'duplicate_window_seconds'"),
        ("nats://a?stream_windo=3", "did you mean 'stream_window'?"),
        ("nats://a?request_timeout=soon", "request_timeout"),
        ("nats://a?request_timeout=nan", "request_timeout"),
        ("nats://a?tls_verify=perhaps", "tls_verify"),
        ("nats://a?max_payload=1.5", "max_payload"),
        ("nats://a?servers=nats://b", "servers"),
        ("http://a:4222", "'http'"),
        ("ws://a:80", "'ws'"),
        ("nats://a:99999", "99999"),
        ("nats://a:0", "a:0"),
        ("nats://:4222", "no host"),
        ("nats://a:4222/orders", "after its port"),
        ("", "no NATS server"),
        ("nats://a,tls://b", "mix"),
        ("nats://u:p@a,nats://u:q@b", "different credentials"),
        ("nats://u:p@a?user=other&password=p", "user"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_thing_cause_and_mend(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        NatsOptions.from_url(url)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"connect_timeout": 0}, "connect_timeout=0"),
        ({"request_timeout": -1}, "request_timeout=-1"),
        ({"ping_interval": float("inf")}, "ping_interval=inf"),
        ({"reconnect_wait": -0.1}, "reconnect_wait"),
        ({"reconnect_jitter": "x"}, "reconnect_jitter"),
        ({"while_disconnected": "hope"}, "'fail' or 'wait'"),
        ({"envelope": "both"}, "'body' or 'headers'"),
        ({"serializer": "pickle"}, "'msgpack'"),
        ({"subject_prefix": "a..b"}, "subject_prefix='a..b'"),
        ({"subject_prefix": "a.*"}, "subject_prefix"),
        ({"subject_prefix": ""}, "subject_prefix"),
        ({"user": "me"}, "password"),
        ({"password": "x"}, "user"),
        ({"token": "x", "user": "me", "password": "y"}, "2 ways"),
        ({"credentials": "a.creds", "nkeys_seed": "SU"}, "2 ways"),
        ({"tls_key": "key.pem"}, "tls_cert"),
        ({"max_payload": 10}, "max_payload=10"),
        ({"max_pending_messages": 0}, "max_pending_messages"),
        ({"max_pending_bytes": 0}, "max_pending_bytes"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_thing_cause_and_mend(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        NatsOptions("nats://a", **options)
    assert told in str(refused.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        NatsOptions("http://a", connect_timeout=0, envelope="x")  # type: ignore[arg-type]
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"nkeys_seed": "missing.nk"}, "nkeys_seed names a file that cannot be read"),
        ({"nkeys_seed": "SUthisisnoseedatall"}, "nkeys_seed"),
        ({"credentials": "missing.creds"}, "credentials names a file that cannot be read"),
        ({"tls_ca": "missing.pem"}, "tls_ca='missing.pem'"),
        ({"tls_cert": "missing.pem"}, "tls_cert='missing.pem'"),
    ],
)
async def test_a_file_that_cannot_be_read_is_a_mistake_of_configuration(
    options: dict[str, Any], told: str
) -> None:
    made = NatsTransport(NatsOptions("nats://127.0.0.1:1", **options), msgpack_serializer(), SystemClock())
    with pytest.raises(ConfigurationError) as refused:
        await made.connect()
    assert told in str(refused.value)


async def test_a_credentials_file_without_a_token_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.creds"
    path.write_text("hello")
    made = NatsTransport(
        NatsOptions("nats://127.0.0.1:1", credentials=str(path)), msgpack_serializer(), SystemClock()
    )
    with pytest.raises(ConfigurationError, match="no user JWT"):
        await made.connect()


def test_importing_catga_nats_imports_no_driver() -> None:
    code = "import catga_nats, sys; print([m for m in sys.modules if m.split('.')[0] in ('nats', 'nkeys', 'ssl')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in eval(done.stdout) if name.startswith(("nats", "nkeys"))]


def test_without_nats_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install \"catga\[nats\]\""):
        add_nats_catga(object())  # type: ignore[arg-type]


def test_the_entry_point_takes_a_url_and_registers_the_transport() -> None:
    class Container:
        def add_singleton(self, service: Any, implementation: Any) -> None:
            self.registered = (service, implementation)

    container = Container()
    add_nats_transport(container, "nats://a:4222?name=x")  # type: ignore[arg-type]
    service, factory = container.registered
    assert service.__name__ == "Transport"
    made = factory(serializer=msgpack_serializer(), clock=SystemClock())
    assert isinstance(made, NatsTransport)
    assert made.capabilities.remote


@pytest.mark.parametrize(
    "url",
    [
        "nats://user:s3,cret@h",
        "nats://user:s3,cr/et@h",
        "nats://user:s3/cret@h",
        "nats://user:s3#cret@h",
        "nats://user:s3?cret@h",
        "nats://user:s3@cret/@h",
        "nats://[user:s3cret@h",
        "nats://user:s3\u2100cret@h",
        "nats://user:pass@h?s3cret=1",
        "nats://h?password=s3&cret=1",
        "s3cret:x://y@h",
    ],
)
@pytest.mark.parametrize("read", [NatsOptions, NatsOptions.from_url])
def test_no_part_of_a_password_is_in_the_text_of_an_error(read: Any, url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(url)
    assert "s3" not in str(raised.value)
    assert "cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
