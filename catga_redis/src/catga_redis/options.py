"""What can be set about Redis, checked as soon as it is written down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import msgspec

from catga_core.errors import ConfigurationError
from catga_core.option_checks import invalid, named_options, seconds_problems, whole_number_problems
from catga_core.url_options import options_in_query
from catga_redis.engine.address import Address, Mode, parse

_PREFIX = re.compile(r"[A-Za-z0-9._:-]+")
_TLS = ("tls_ca", "tls_cert", "tls_key")
_SYSTEM = "Redis"
COMMIT_MARKER_SECONDS = 120
"""Seconds for which a unit of work that was committed is recognized when it is sent again."""
_SECONDS = (
    "connect_timeout_seconds",
    "command_timeout_seconds",
    "recover_timeout_seconds",
    "claim_retention_seconds",
    "wait_timeout_seconds",
)


@named_options
@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Which Redis to use, for what, and how.

    Args:
        url: `redis://user:password@host:6379/0`, `rediss://...` for TLS, `redis+sentinel://a:26379,b:26379/service/0`, or
            `redis+cluster://a:6379,b:6379` (each with `rediss+` for TLS).
        prefix: What every key begins with, in braces: applications of one prefix share their state.
        enable_idempotency: Whether claims and results are kept there.
        enable_event_store: Whether event streams, snapshots and checkpoints are kept there.
        enable_inbox: Whether it remembers which handler has had which message.
        enable_outbox: Whether messages to send are kept there.
        enable_queues: Whether queues of messages to handle are kept there.
        enable_saga_persistence: Whether the journals of sagas are kept there.
        enable_dead_letters: Whether messages that could not be handled are kept there.
        enable_locks: Whether it gives the locks.
        username: Whom to sign in as, where the URL does not say it.
        password: What to sign in with, where the URL does not say it.
        sentinel_username: Whom to sign in to the Sentinels as.
        sentinel_password: What to sign in to the Sentinels with.
        connect_timeout_seconds: Seconds within which the start has to reach a server, or fail, and a new connection is made.
        command_timeout_seconds: Seconds within which what was sent has to be answered, and within which a call fails while
            the server is away.
        recover_timeout_seconds: Seconds to find out what became of a write whose answer was lost; with Sentinels or a cluster
            also to wait for another node, when the primary is away. Together with the other timeouts, less than 120.
        batch_size: How many commands are sent together at most.
        claim_retention_seconds: Seconds for which a claim whose lease has run out can still be completed.
        wait_aof: Whether a write is acknowledged only when it is on the server's disk (`WAITAOF`); with `appendfsync everysec`
            that takes up to a second, shared by all who write meanwhile.
        wait_replicas: How many replicas must have a write before it is acknowledged (`WAIT`; on their disks with
            `wait_aof`).
        wait_timeout_seconds: Seconds to wait for these.
        tls_ca: The path of the certificates to trust, `None` for the system's.
        tls_cert: The path of our own certificate, where the server asks for one.
        tls_key: The path of its key; `None` where `tls_cert` holds both.
        tls_verify: Whether to check the server's certificate at all.

    Raises:
        ConfigurationError: Listing everything that is wrong.
    """

    url: str = field(default="redis://localhost:6379/0", repr=False)
    prefix: str = "catga"
    enable_idempotency: bool = True
    enable_event_store: bool = True
    enable_inbox: bool = True
    enable_outbox: bool = True
    enable_queues: bool = True
    enable_saga_persistence: bool = True
    enable_dead_letters: bool = True
    enable_locks: bool = True
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    connect_timeout_seconds: float = 5.0
    command_timeout_seconds: float = 5.0
    recover_timeout_seconds: float = 10.0
    batch_size: int = 256
    claim_retention_seconds: float = 86_400.0
    wait_aof: bool = False
    wait_replicas: int = 0
    wait_timeout_seconds: float = 2.0
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_verify: bool = True
    address: Address = field(init=False)
    """The URL in parts, with the credentials."""

    def __post_init__(self) -> None:
        """Check everything, and move the credentials out of the URL so that it can be shown."""
        problems: list[str] = []
        address = self._read_url(problems)
        problems += [
            *seconds_problems(self, _SECONDS, system=_SYSTEM),
            *whole_number_problems(self, ("batch_size",), system=_SYSTEM),
            *whole_number_problems(self, ("wait_replicas",), system=_SYSTEM, least=0),
        ]
        if not _PREFIX.fullmatch(self.prefix):
            problems.append(
                invalid(
                    _SYSTEM,
                    "prefix",
                    self.prefix,
                    "Set a prefix of letters, digits and the characters . _ : -",
                )
            )
        if address is not None:
            self._check_mode(address, problems)
        if not problems:
            self._check_recovery(problems)
        if problems or address is None:
            raise ConfigurationError(problems)
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "url", address.shown)

    @classmethod
    def from_url(cls, url: str) -> RedisOptions:
        """Return the options written as one URL, as plugins are configured.

        Args:
            url: `redis://host:6379/0?prefix=orders&wait_aof=true`; every option of this class but `url` can stand after
                the question mark.

        Raises:
            ConfigurationError: For what cannot be read, and for options that do not exist.
        """
        place, _, query = url.partition("?")
        parse(place)  # before its query: what has no known scheme may be anything
        secret = "@" in url or "password=" in query
        return cls(place, **options_in_query(cls, query, system="Redis", without=("url",), secret=secret))

    def _read_url(self, problems: list[str]) -> Address | None:
        try:
            address = parse(self.url)
        except ConfigurationError as error:
            problems.extend(error.problems)
            return None
        for option in ("username", "password"):
            own, written = getattr(self, option), getattr(address, option)
            if own is not None and written not in {None, own}:
                problems.append(
                    f"{option} is set both in the Redis URL and as an option, differently: keep one"
                )
        return msgspec.structs.replace(
            address, username=self.username or address.username, password=self.password or address.password
        )

    def _check_recovery(self, problems: list[str]) -> None:
        # A script that is sent again later than this would not know that it has been there.
        longest = (
            self.recover_timeout_seconds
            + self.command_timeout_seconds
            + self.connect_timeout_seconds
            + self.wait_timeout_seconds
        )
        if longest >= COMMIT_MARKER_SECONDS:
            problems.append(
                invalid(
                    _SYSTEM,
                    "recover_timeout_seconds",
                    self.recover_timeout_seconds,
                    f"Together with command_, connect_ and wait_timeout_seconds it is {longest:g} s, and a repeated unit of "
                    f"work is recognized for {COMMIT_MARKER_SECONDS} s only. Set shorter timeouts",
                )
            )

    def _check_mode(self, address: Address, problems: list[str]) -> None:
        if address.mode is not Mode.SENTINEL and (self.sentinel_username or self.sentinel_password):
            problems.append(
                "Redis options sentinel_username and sentinel_password are set, and the URL names no Sentinel: "
                "leave them out, or write redis+sentinel://"
            )
        if not address.tls and (not self.tls_verify or any(getattr(self, option) for option in _TLS)):
            problems.append(
                "Redis options about TLS are set, and the URL does not encrypt: write rediss:// for redis://"
            )
        if self.tls_key and not self.tls_cert:
            problems.append(
                "Redis option tls_key is set without tls_cert: a key is of use beside its certificate only"
            )


def as_options(options: str | RedisOptions) -> RedisOptions:
    """Return options, read from a URL where they are one."""
    return RedisOptions.from_url(options) if isinstance(options, str) else replace(options)
