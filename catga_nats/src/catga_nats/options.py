"""What can be set about NATS, checked as soon as it is written down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args
from urllib.parse import ParseResult, unquote, urlparse

from catga_core.errors import ConfigurationError
from catga_core.option_checks import (
    invalid,
    is_whole_number,
    named_options,
    seconds_problems,
    whole_number_problems,
)
from catga_core.url_options import is_plain_host, options_in_query
from catga_nats.jetstream.options import JetStreamOptions
from catga_nats.subjects import prefix_problem

WhileDisconnected = Literal["fail", "wait"]
EnvelopeForm = Literal["body", "headers"]
SerializerName = Literal["json", "msgpack"]

DEFAULT_PORT = 4222
HEARTBEATS = (0.05, 60.0)
"""Least and most seconds between two signs of life of a stream, whatever a peer asks for."""
_SCHEMES = ("nats", "tls")
_ENABLES = re.compile("(^|&)jetstream=")
_SECRET = ("token", "password", "nkeys_seed", "credentials")
_ENCODE = "; in a password, write %2C for ',', %2F for '/', %3F for '?', %23 for '#' and %40 for '@'"


@named_options
@dataclass(frozen=True, slots=True)
class NatsOptions:
    """How to reach NATS and how to behave on it.

    Args:
        servers: `"nats://a:4222,nats://b:4222"` or a sequence of such; `tls://` demands encryption. User and password
            (or a token) may stand in a URL and then count for every server.
        name: What the server shows this connection as.
        connect_timeout: Seconds within which the start has to reach a server, or fail.
        request_timeout: Seconds a request waits when its sender set no deadline.
        reconnect_wait: Seconds between two rounds over the servers after the connection was lost.
        reconnect_jitter: Up to so many seconds are added to each wait at random, so that not all clients come at once.
        ping_interval: Seconds between two pings; a server that answers none for as long again is left for another.
        while_disconnected: What is sent while there is no connection fails at once (`"fail"`), or waits until its own
            deadline for the connection to come back (`"wait"`). The same holds for requests that were under way.
        subject_prefix: The first word of every subject; peers must agree on it.
        envelope: Ids travel in one array before the body (`"body"`, faster), or as NATS headers (`"headers"`, for
            peers that want them). Either is understood on receipt.
        serializer: `"msgpack"`, `"json"`, or `None` for the container's own.
        token: A token to sign in with.
        user: A user to sign in as, with `password`.
        password: The user's password.
        nkeys_seed: An NKey seed (`"SU..."`), or the path of a file that holds one.
        credentials: The path of a `.creds` file, or its text.
        tls_ca: The path of the certificates to trust, `None` for the system's.
        tls_cert: The path of our own certificate, where the server asks for one.
        tls_key: The path of its key; `None` where `tls_cert` holds both.
        tls_hostname: The name to expect in the server's certificate, `None` for the one in the URL.
        tls_verify: Whether to check the server's certificate at all.
        stream_window: How many items of a stream may be on their way or wait for the one who asks; the handler is stopped at a
            `yield` beyond it. The smaller one of both sides counts.
        stream_window_bytes: The same in bytes; one item more than that may be out.
        stream_heartbeat: Seconds between two signs of life of both sides of a stream. A peer that was silent for three of them
            is lost. From 0.05 to 60.
        max_payload: Bytes of the largest message to send or to take, `None` for the server's own limit.
        max_pending_messages: How many deliveries of one event may wait for a handler before further ones are dropped
            and counted (requests never wait: over the limit they are refused).
        max_pending_bytes: The same in bytes, headers included.
        enable_jetstream: Whether durable events and enqueued commands are kept by JetStream; `jetstream=true` in a URL. It adds
            the feature `queues`.
        jetstream: How JetStream keeps them.

    Raises:
        ConfigurationError: Listing everything that is wrong.
    """

    servers: str | Sequence[str] = "nats://localhost:4222"
    name: str = "catga"
    connect_timeout: float = 5.0
    request_timeout: float = 30.0
    reconnect_wait: float = 0.5
    reconnect_jitter: float = 0.5
    ping_interval: float = 20.0
    while_disconnected: WhileDisconnected = "fail"
    subject_prefix: str = "catga"
    envelope: EnvelopeForm = "body"
    serializer: SerializerName | None = None
    token: str | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    nkeys_seed: str | None = field(default=None, repr=False)
    credentials: str | None = field(default=None, repr=False)
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_hostname: str | None = None
    tls_verify: bool = True
    stream_window: int = 64
    stream_window_bytes: int = 1024 * 1024
    stream_heartbeat: float = 2.0
    max_payload: int | None = None
    max_pending_messages: int = 65_536
    max_pending_bytes: int = 64 * 1024 * 1024
    enable_jetstream: bool = False
    jetstream: JetStreamOptions = field(default_factory=JetStreamOptions)

    def __post_init__(self) -> None:
        """Check everything, and move credentials out of the URLs so that those can be shown."""
        problems: list[str] = []
        urls = self._read_servers(problems)
        self._check_numbers(problems)
        self._check_choices(problems)
        self._check_auth(problems)
        self._check_tls(problems)
        if problems:
            raise ConfigurationError(problems)
        object.__setattr__(self, "servers", urls)

    @property
    def server_urls(self) -> tuple[str, ...]:
        """The servers, each as `scheme://host:port` without credentials."""
        assert isinstance(self.servers, tuple)  # noqa: S101  # __post_init__ made it one
        return self.servers

    @property
    def wants_tls(self) -> bool:
        """Whether a connection without encryption is refused."""
        return any(url.startswith("tls:") for url in self.server_urls) or bool(
            self.tls_ca or self.tls_cert or self.tls_hostname or not self.tls_verify
        )

    @classmethod
    def from_url(cls, url: str) -> NatsOptions:
        """Return the options written as one URL, as plugins are configured.

        Args:
            url: `nats://user:pass@host:4222,host2:4222?name=orders&request_timeout=5`; every option of this class but
                `servers` and `jetstream` can stand after the question mark.

        Raises:
            ConfigurationError: For what cannot be read, and for options that do not exist.
        """
        servers, _, query = url.partition("?")
        secret = "@" in url or any(f"{option}=" in query for option in _SECRET)
        values = options_in_query(
            cls,
            _ENABLES.sub(r"\1enable_jetstream=", query),
            system="NATS",
            without=("servers", "jetstream"),
            secret=secret,
            encode=_ENCODE,
            elsewhere={
                each.name: f"NatsOptions(url, jetstream=JetStreamOptions({each.name}=...))"
                for each in fields(JetStreamOptions)
            },
        )
        return cls(servers, **values)

    def _read_servers(self, problems: list[str]) -> tuple[str, ...]:
        # Each server with how it may be shown.
        given: list[tuple[str, str]] = []
        for entry in [self.servers] if isinstance(self.servers, str) else self.servers:
            parts = [part.strip() for part in entry.split(",")]
            given.extend(zip(parts, _redacted(parts), strict=True))
        if not any(text for text, _ in given):
            problems.append("no NATS server is named: write servers='nats://localhost:4222'")
            return ()
        urls: list[str] = []
        signed: set[tuple[str, str | None]] = set()
        scheme = "nats"
        for text, shown in given:
            # "nats://a,b": what comes after a comma may leave the scheme out.
            scheme = text.partition("://")[0].lower() if "://" in text else scheme
            uri, problem = _parse_server(text if "://" in text else f"{scheme}://{text}", shown)
            if uri is None:
                problems.append(problem)
                continue
            if uri.username:
                signed.add((unquote(uri.username), None if uri.password is None else unquote(uri.password)))
            host = f"[{uri.hostname}]" if uri.hostname and ":" in uri.hostname else uri.hostname
            urls.append(f"{uri.scheme}://{host}:{uri.port or DEFAULT_PORT}")
        if len({url.partition(":")[0] for url in urls}) > 1:
            problems.append("the NATS servers mix nats:// and tls://: write all of them with the same scheme")
        self._sign_in(signed, problems)
        return tuple(dict.fromkeys(urls))

    def _sign_in(self, signed: set[tuple[str, str | None]], problems: list[str]) -> None:
        if not signed:
            return
        if len(signed) > 1:
            problems.append(
                "the NATS URLs carry different credentials, and one connection signs in the same everywhere: "
                "name them once, by user= and password= or token="
            )
            return
        user, password = next(iter(signed))
        wanted = {"token": user} if password is None else {"user": user, "password": password}
        for option, value in wanted.items():
            if getattr(self, option) not in {None, value}:
                problems.append(
                    f"{option} is set both in the NATS URL and as an option, differently: keep one"
                )
            object.__setattr__(self, option, value)

    def _check_numbers(self, problems: list[str]) -> None:
        timeouts = ("connect_timeout", "request_timeout", "ping_interval", "stream_heartbeat")
        counts = ("max_pending_messages", "max_pending_bytes", "stream_window", "stream_window_bytes")
        problems += [
            *seconds_problems(self, timeouts, system="NATS"),
            *whole_number_problems(self, counts, system="NATS"),
            *seconds_problems(self, ("reconnect_wait", "reconnect_jitter"), system="NATS", least=0),
        ]
        low, high = HEARTBEATS
        if (
            not any("stream_heartbeat" in each for each in problems)
            and not low <= self.stream_heartbeat <= high
        ):
            fix = f"Set {low:g} to {high:g} seconds."
            problems.append(invalid("NATS", "stream_heartbeat", self.stream_heartbeat, fix))
        if self.max_payload is not None and (
            not is_whole_number(self.max_payload) or self.max_payload < 1024
        ):
            fix = "Set at least 1024 bytes, or None for the server's own limit."
            problems.append(invalid("NATS", "max_payload", self.max_payload, fix))

    def _check_choices(self, problems: list[str]) -> None:
        choices: Mapping[str, Any] = {"while_disconnected": WhileDisconnected, "envelope": EnvelopeForm}
        for option, allowed in choices.items():
            if getattr(self, option) not in get_args(allowed):
                listed = " or ".join(repr(choice) for choice in get_args(allowed))
                problems.append(f"NATS option {option}={getattr(self, option)!r} is not known: use {listed}")
        if self.serializer is not None and self.serializer not in get_args(SerializerName):
            problems.append(
                f"NATS option serializer={self.serializer!r} is not known: use 'msgpack', 'json', "
                "or None for the serializer of the container"
            )
        given: object = self.jetstream
        if not isinstance(given, JetStreamOptions):
            problems.append(invalid("NATS", "jetstream", given, "Pass JetStreamOptions(...)."))
        problem = prefix_problem(self.subject_prefix)
        if problem:
            problems.append(problem)

    def _check_auth(self, problems: list[str]) -> None:
        if (self.user is None) != (self.password is None):
            given, missing = ("user", "password") if self.password is None else ("password", "user")
            problems.append(f"NATS option {given} is set and {missing} is not: give both, or token= alone")
        forms = {
            "token": self.token,
            "user and password": self.user or self.password,
            "nkeys_seed": self.nkeys_seed,
            "credentials": self.credentials,
        }
        used = [form for form, value in forms.items() if value is not None]
        if len(used) > 1:
            problems.append(f"the NATS options sign in in {len(used)} ways ({', '.join(used)}): keep one")

    def _check_tls(self, problems: list[str]) -> None:
        if self.tls_key and not self.tls_cert:
            problems.append(
                "NATS option tls_key is set without tls_cert: a key is of use beside its certificate only"
            )


def _redacted(parts: Sequence[str]) -> list[str]:
    """Return how the servers of one text may be shown: nothing that may be a piece of a password.

    A comma in a password tears it apart, so that what stands before a later "@" may be one as well.

    Args:
        parts: What stood between the commas.
    """
    last = max((index for index, part in enumerate(parts) if "@" in part), default=-1)
    shown: list[str] = []
    for index, part in enumerate(parts):
        scheme, mark, host = part.rpartition("@")[2].rpartition("://")
        host, *more = re.split("[/?#&;]", host, maxsplit=1)
        torn = index < last or (index == last and more) or not is_plain_host(host.strip())
        shown.append(f"number {index + 1}" if torn else repr(scheme + mark + host))
    return shown


def _parse_server(text: str, shown: str) -> tuple[ParseResult | None, str]:
    """Return a server's URL in parts, or the problem with it (which never shows a password).

    Args:
        text: The URL.
        shown: What may be shown of it.
    """
    fix = "write nats://host:4222 or tls://host:4222"
    if "@" in text or not shown.startswith("'"):
        fix += _ENCODE
    try:
        uri = urlparse(text)
        port = uri.port
    except ValueError:
        # Its text quotes what it could not read.
        return None, f"the NATS server {shown} cannot be read: {fix}"
    if uri.scheme not in _SCHEMES:
        scheme = "a scheme" if "@" in text else f"the scheme {uri.scheme!r}"
        return None, f"the NATS server {shown} has {scheme}, which is not spoken here: {fix}"
    if not uri.hostname or port == 0 or any(character.isspace() for character in uri.netloc):
        return None, f"the NATS server {shown} names no host that can be reached: {fix}"
    if uri.path not in {"", "/"} or uri.params or uri.query or uri.fragment:
        return None, f"the NATS server {shown} has something after its port: {fix}"
    return uri, ""
