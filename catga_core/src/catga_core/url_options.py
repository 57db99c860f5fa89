"""Options that stand after the question mark of a URL, read alike for every transport and store."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec

from catga_core.errors import ConfigurationError

_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*")
_NAME = re.compile(r"((sqlite|file|memory|rediss?|nats|tls|):)?[A-Za-z0-9+_./-]*(:[0-9]*)?", re.IGNORECASE)
_PATH = re.compile(r"([A-Za-z]:(?=[/\\]))?[^:\[\]]*")  # with a drive or without one
_OPTION = re.compile(r"[a-z_]{1,40}")
_VALUE = 8  # characters of a value that an error shows at most
_END = re.compile(r"[?#&;]")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(:[0-9]{0,5})?")

_KINDS = {float: ("number", "2.5"), int: ("whole number", "10"), bool: ("truth value", "true")}


def options_in_query(
    options: type[Any],
    query: str,
    *,
    system: str,
    without: Collection[str] = (),
    secret: bool = False,
    encode: str = "",
    elsewhere: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the options of a query by their names, each as its dataclass declares it.

    A number or a truth value is read as one. Any other text is given as it stands: which ones are possible, the class says. The
    unit at the end of a name may be left out: `command_timeout=5` sets `command_timeout_seconds`.

    Args:
        options: The dataclass that declares them.
        query: What stands after the question mark.
        system: What the URL is of, for errors: `NATS`.
        without: Names of options that cannot stand there.
        secret: Whether the URL may have a password in it; then nothing of what it sets is in an error, for after a
            password with a `?` or `&` in it, parts of it look like options.
        encode: Added to what is said of an unknown option in such a URL: how to write a password.
        elsewhere: Options that a URL cannot set, with what to pass for each.

    Raises:
        ConfigurationError: Listing every option that does not exist or cannot be read.
    """
    types = get_type_hints(options)
    known = sorted(
        field.name for field in dataclasses.fields(options) if field.init and field.name not in without
    )
    other = elsewhere or {}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for written, text in parse_qsl(query, keep_blank_values=True):
        name = f"{written}_seconds" if f"{written}_seconds" in known else written
        if name not in known:
            shown = "something" if secret or not _OPTION.fullmatch(name) else repr(name)
            fix = f"use one of {', '.join(known)}{encode}" if secret else _suggestion(name, known, other)
            problems.append(f"the {system} URL sets {shown}, which is not an option: {fix}")
            continue
        type_ = _without_none(types[name])
        if type_ not in _KINDS:
            values[name] = text
            continue
        try:
            values[name] = msgspec.convert(text, type_, strict=False)
        except msgspec.ValidationError:
            shown = "***" if secret or len(text) > _VALUE else repr(text)
            kind, example = _KINDS[type_]
            problems.append(
                f"the {system} URL sets {name}={shown}, which is not a {kind}: write one, such as {name}={example}"
            )
    if problems:
        raise ConfigurationError(problems)
    return values


def shown_url(url: object) -> str:
    """Return a URL, quoted, without anything that may be a password.

    What stands before an `@`, what stands after the first `?`, `#`, `&` or `;`, and a place that is not hosts with ports and
    a path are hidden: passwords with such characters tear a URL apart.

    Args:
        url: A URL, or what was meant as one.
    """
    if url is None:
        return "None"
    if not isinstance(url, str):
        return f"<a value of type {type(url).__name__}>"
    scheme, mark, rest = url.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        # A password may stand anywhere in what has no scheme, and a name has no mark.
        return repr(url) if is_plain(url) else "'***'"
    _, at, place = rest.rpartition("@")
    place, cut = _END.split(place, maxsplit=1)[0], _END.search(place) is not None
    hosts, slash, path = place.partition("/")
    if not all(map(is_plain_host, hosts.split(","))):
        hosts, slash, path = "***", "", ""
    elif not _PATH.fullmatch(path):
        path = "***"
    return repr(f"{scheme}{mark}{'***@' if at else ''}{hosts}{slash}{path}{'?***' if cut else ''}")


def is_plain_host(text: str) -> bool:
    """Return whether a text is a host, with a port or without one, and hides nothing else.

    Args:
        text: One of the hosts of a URL.
    """
    return _HOST.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Return whether what was meant as a URL has nothing in it that may be a password.

    Args:
        text: A name, a path, or a URL with its slashes missing.
    """
    return _NAME.fullmatch(text) is not None


def suggestion(name: str, known: Collection[str]) -> str:
    """Return what to write for a name that is not known: the near one, or else one of all.

    Args:
        name: What was written.
        known: What can be.
    """
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"


def _suggestion(name: str, known: Collection[str], elsewhere: Mapping[str, str]) -> str:
    near = get_close_matches(name, [*known, *elsewhere], n=1)
    if not near or near[0] not in elsewhere:
        return suggestion(name, known)
    meant = "a URL cannot set it" if near[0] == name else f"did you mean {near[0]!r}? A URL cannot set it"
    return f"{meant}. Pass {elsewhere[near[0]]}."


def _without_none(type_: Any) -> Any:
    members = [member for member in get_args(type_) if member is not NoneType]
    return members[0] if len(members) == 1 else type_
