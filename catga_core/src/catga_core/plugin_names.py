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

_EXAMPLES = {"transport": "nats://localhost:4222", "store": "sqlite:///app.db"}
_FILES = (".db", ".sqlite", ".sqlite3")


def not_a_url(given: str, option: str) -> str:
    """Return the text for a store or transport that is not a URL.

    Args:
        given: What was given.
        option: `store` or `transport`.
    """
    meant = _meant(given, option)
    fix = f"{meant!r}" if meant else f"'scheme://...', such as {_EXAMPLES[option]!r}"
    return f"{option} must be a URL; got {shown_url(given)}. Write {option}={fix}."


def not_installed(group: str, name: str, installed: Collection[str], elsewhere: Mapping[str, str]) -> str:
    """Return the text for a plugin that is not installed.

    Args:
        group: The entry-point group in which it was looked for.
        name: Its name.
        installed: The names of the plugins of the group.
        elsewhere: For each plugin of another group, how it is named in `CatgaOptions`.
    """
    names = ", ".join(sorted(installed)) or "none"
    start = f"No plugin of {group} is named {name!r}; installed are {names}."
    other = elsewhere.get(name)
    if other is not None:
        return f"{start} {name!r} is for {other.partition('=')[0]}=. Write CatgaOptions({other})."
    if name in _PLANNED:
        return f"{start} The distribution {_PLANNED[name]} is planned for a later version. Use an installed plugin until then."
    if name in MEMBERS:
        return f'{start} Run pip install "catga[{MEMBERS[name]}]".'
    near = get_close_matches(name.lower(), sorted({*installed, *MEMBERS, *_PLANNED}), n=1)
    if not near:
        return f"{start} Install its distribution."
    if near[0] in installed:
        return f"{start} Did you mean {near[0]!r}? Correct the name."
    return (
        f"{start} Did you mean {near[0]!r}? {not_installed(group, near[0], (), elsewhere).partition('. ')[2]}"
    )


def _meant(given: str, option: str) -> str | None:
    """Return the URL that was probably meant, `None` where that is not known."""
    scheme, _, rest = given.partition(":")
    name = scheme.lower()
    if not is_plain(given):
        # Nothing of what may be a password is shown.
        return None
    if given in {"memory", ":memory:"}:
        return "memory://"
    if option == "store" and (given.endswith(_FILES) or (name == "sqlite" and rest)):
        return f"sqlite:///{rest if name in {'sqlite', 'file'} else given}"
    if name in {"memory", *MEMBERS} - {"sqlite"}:
        return f"{name}://{rest.lstrip('/') or 'localhost'}"
    return None
