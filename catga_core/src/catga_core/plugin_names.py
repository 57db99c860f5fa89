"""Error texts for plugins that are not installed, and for stores and transports that are not given by a URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from catga_core.url_options import is_plain, shown_url

MEMBERS: Mapping[str, str] = {
    "nats": "nats",
    "tls": "nats",
    "redis": "redis",
    "rediss": "redis",
    "redis+sentinel": "redis",
    "rediss+sentinel": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
    "sqlite": "sqlite",
}
"""The extra of `catga` that installs a plugin."""

_PLANNED = {
    "postgres": "catga-postgres",
    "postgresql": "catga-postgres",
    "amqp": "catga-rabbitmq",
    "amqps": "catga-rabbitmq",
    "rabbitmq": "catga-rabbitmq",
    "kafka": "catga-kafka",
    "otel": "catga-otel",
}
"""The distribution of a later version that will bring a plugin."""

_ALIASES: Mapping[str, str] = {
    "valkey": "redis",
    "valkeys": "rediss",
    "keydb": "redis",
    "dragonfly": "redis",
    "redis+tls": "rediss",
    "redis+ssl": "rediss",
    "valkey+tls": "rediss",
    "valkey+ssl": "rediss",
    "sqlite3": "sqlite",
    "file": "sqlite",
    "nats+tls": "tls",
    "jetstream": "nats",
    "ws": "nats",
    "wss": "tls",
    "inmemory": "memory",
    "in-memory": "memory",
    "mem": "memory",
    "pg": "postgresql",
    "pgsql": "postgresql",
    "psql": "postgresql",
    "pyamqp": "amqp",
    "rabbit": "rabbitmq",
    "redpanda": "kafka",
    "opentelemetry": "otel",
}
"""Names that other libraries use for what a plugin connects to, each with the plugin's name."""

_EXAMPLES = {"transport": "nats://localhost:4222", "store": "sqlite:///app.db"}
_SCHEMES = {"transport": {"memory", "nats", "tls"}, "store": {"memory", "redis", "rediss"}}
_FILES = (".db", ".sqlite", ".sqlite3")
_CLOSE = 0.8  # similarity from which a name is a misspelling rather than another name


def not_a_url(given: str, option: str) -> str:
    """Return the text for a store or transport that is not a URL.

    Args:
        given: What was given.
        option: `store` or `transport`.
    """
    meant = _meant(given, option)
    fix = f"{meant!r}" if meant else f"'scheme://...', such as {_EXAMPLES[option]!r}"
    return f"{option} must be a URL; got {shown_url(given)}. Write {option}={fix}."


def not_installed(
    group: str, name: str, installed: Collection[str], written: str, elsewhere: Mapping[str, str]
) -> str:
    """Return the text for a plugin that is not installed.

    Args:
        group: The entry-point group in which it was looked for.
        name: Its name.
        installed: The names of the plugins of the group.
        written: How a plugin of the group is named in `CatgaOptions`, with `{}` for the name.
        elsewhere: For each plugin of another group, how it is named in `CatgaOptions`.
    """
    names = ", ".join(sorted(installed)) or "none"
    start = f"No plugin of {group} is named {name!r}; installed are {names}."
    if advice := _advice(name, elsewhere):
        return f"{start} {advice}"
    meant = _spelling(name, installed)
    if meant is None:
        return f"{start} Use an installed plugin, or install the distribution that provides {name!r}."
    advice = f"Write CatgaOptions({written.format(meant)})."
    return f"{start} Did you mean {meant!r}? {advice if meant in installed else _advice(meant, elsewhere)}"


def _advice(name: str, elsewhere: Mapping[str, str]) -> str:
    """Return how to get the plugin of a name that is not installed for its option, empty for an unknown name."""
    other = elsewhere.get(name)
    if other is not None:
        return f"{name!r} is for {other.partition('=')[0]}=. Write CatgaOptions({other})."
    if name in _PLANNED:
        return f"The distribution {_PLANNED[name]} is planned for a later version. Use an installed plugin until then."
    return f'Run pip install "catga[{MEMBERS[name]}]".' if name in MEMBERS else ""


def _spelling(name: str, installed: Collection[str]) -> str | None:
    """Return the name of the plugin that was probably meant, `None` for a name that resembles none."""
    known = sorted({*installed, *MEMBERS, *_PLANNED})
    written = name.strip().lower()
    # `sqlite+aiosqlite` and `postgresql+asyncpg` name a driver, as SQLAlchemy's URLs do.
    without_driver = written.partition("+")[0]
    near = get_close_matches(written, [*known, *_ALIASES], n=1, cutoff=_CLOSE)
    for each in (written, *near, without_driver, *get_close_matches(written, known, n=1)):
        found = _ALIASES.get(each, each)
        if found in known:
            return found
    return None


def _meant(given: str, option: str) -> str | None:
    """Return the URL that was probably meant, `None` where that is not known."""
    scheme, _, rest = given.partition(":")
    name = _ALIASES.get(scheme.lower(), scheme.lower())
    if not is_plain(given):
        # Nothing of what may be a password is shown.
        return None
    if given in {"memory", ":memory:"}:
        return "memory://"
    if option == "store" and (given.endswith(_FILES) or (name == "sqlite" and rest)):
        path = rest if name == "sqlite" else given
        # The colon may have been left out.
        return f"sqlite:///{path.removeprefix('sqlite').lstrip('/') if path.startswith('sqlite//') else path}"
    if name not in _SCHEMES[option]:
        return None
    if rest.isdecimal():
        return f"{name}://localhost:{rest}"
    return f"{name}://{rest.lstrip('/') or 'localhost'}"
