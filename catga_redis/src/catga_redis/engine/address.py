"""Where a Redis is: one URL in parts."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from catga_core.errors import ConfigurationError

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379

_FORMS = (
    "redis://host:6379/0, rediss://host (TLS), redis+sentinel://a:26379,b:26379/service/0 or "
    "redis+cluster://a:6379,b:6379"
)
# What an error may repeat of a URL: where a character was forgotten, more of it may be a password.
_HARMLESS = re.compile(r"[A-Za-z0-9._/-]*")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")  # what Sentinels allow
_ENCODE = (
    "; in a password, write %2C for ',', %2F for '/', %3A for ':', %3F for '?', %23 for '#' and %40 for '@'"
)


_QUERY = "%3F for '?' and %23 for '#'"


class Mode(StrEnum):
    """What is found at an address."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_MODES = {"redis": Mode.SERVER, "redis+sentinel": Mode.SENTINEL, "redis+cluster": Mode.CLUSTER}


class Address(msgspec.Struct, frozen=True):
    """A URL in parts.

    Args:
        mode: One server, Sentinels that know where it is, or a cluster.
        hosts: Hosts and ports.
        database: The number of the database.
        service: What the Sentinels call it; empty without them.
        tls: Whether to encrypt.
        username: Whom to sign in as, `None` for the default user.
        password: What to sign in with, `None` for nothing.
    """

    mode: Mode
    hosts: tuple[tuple[str, int], ...]
    database: int = 0
    service: str = ""
    tls: bool = False
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the URL without credentials; msgspec's own would show the password."""
        return [("url", self.shown)]

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        scheme = "redis" + ("s" if self.tls else "")
        scheme += "" if self.mode is Mode.SERVER else f"+{self.mode}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        path = f"/{self.service}" if self.service else ""
        return f"{scheme}://{hosts}{path}/{self.database}"


def parse(url: str) -> Address:
    """Return a URL's parts.

    Args:
        url: Without a query.

    Raises:
        ConfigurationError: Naming what cannot be read, never showing a password.
    """
    scheme, mark, rest = url.partition("://")
    tls = scheme.startswith("rediss")
    mode = _MODES.get("redis" + scheme.removeprefix("rediss")) if tls else _MODES.get(scheme)
    if not mark or mode is None:
        # Without a scheme that is known, any part of it may be a password.
        msg = f"the Redis URL begins with no scheme that is spoken here: write {_FORMS}"
        raise ConfigurationError(msg)
    credentials, at, place = rest.rpartition("@")
    if "?" in place or "#" in place:
        msg = (
            "the Redis URL has options after a question mark, or a fragment: pass it to RedisOptions.from_url, or set the "
            f"options by their names; in a password, write {_QUERY}"
        )
        raise ConfigurationError(msg)
    hosts_text, _, path = place.partition("/")
    hosts = tuple(_host(text, mode, secret=bool(at)) for text in hosts_text.split(","))
    if mode is Mode.SERVER and len(hosts) > 1:
        msg = (
            "the Redis URL names several hosts, and redis:// is for one server: write redis+cluster:// for a cluster, "
            f"redis+sentinel:// for Sentinels{_ENCODE if at else ''}"
        )
        raise ConfigurationError(msg)
    username, _, password = credentials.partition(":")
    service, database = _path(path, mode, secret=bool(at))
    return Address(
        mode=mode,
        hosts=hosts,
        database=database,
        service=service,
        tls=tls,
        username=unquote(username) or None,
        password=unquote(password) or None,
    )


def _host(text: str, mode: Mode, *, secret: bool) -> tuple[str, int]:
    try:
        parts: SplitResult = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0 or any(character.isspace() for character in host):
        name = text.partition(":")[0]
        shown = (
            "a host"
            if secret or not name or not _HARMLESS.fullmatch(name)
            else f"the host {name!r} with a port"
        )
        msg = f"the Redis URL names {shown} that cannot be reached: write {_FORMS}{_ENCODE if secret else ''}"
        raise ConfigurationError(msg)
    return host, port or (SENTINEL_PORT if mode is Mode.SENTINEL else DEFAULT_PORT)


def _path(path: str, mode: Mode, *, secret: bool) -> tuple[str, int]:
    parts = [unquote(part) for part in path.split("/") if part]
    service = parts.pop(0) if mode is Mode.SENTINEL and parts else ""
    if mode is Mode.SENTINEL and not service:
        msg = "the Redis URL names Sentinels and no service: write redis+sentinel://a:26379/mymaster/0"
        raise ConfigurationError(msg)
    if service and not _SERVICE.fullmatch(service):
        msg = "the Redis URL names a service with characters that Sentinels do not allow: write letters, digits, '.', '-' and '_'"
        raise ConfigurationError(msg)
    text = parts.pop(0) if parts else "0"
    if parts or not text.isascii() or not text.isdecimal():
        shown = "" if secret or not _HARMLESS.fullmatch(path) else f" ({path!r})"
        msg = f"the Redis URL ends with something that is no database number{shown}: write {_FORMS}{_ENCODE if secret else ''}"
        raise ConfigurationError(msg)
    if mode is Mode.CLUSTER and text != "0":
        msg = "the Redis URL chooses a database, and a cluster has only number 0: leave it out"
        raise ConfigurationError(msg)
    return service, int(text)
