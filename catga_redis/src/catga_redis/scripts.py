"""The scripts: each operation on its own, and all of them in one for a unit of work."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files

import msgspec

_MODULES = {
    "events": ("append_all", "look_append", "read_stream", "read_all"),
    "snapshots": ("save_snapshot", "load_snapshot", "delete_snapshots", "count_snapshots"),
    "checkpoints": ("delete_checkpoint",),
    "idempotency": ("claim", "renew_claim", "complete", "release_claim", "look"),
    "inbox": ("record", "forget", "prune_inbox"),
    "locks": ("acquire", "renew_lock", "release_lock", "lock_left"),
    "outbox": (
        "add",
        "lease",
        "renew",
        "sent",
        "retry",
        "give_back",
        "is_held",
        "outbox_stats",
        "due_in",
        "prune_outbox",
    ),
    "dead_letters": (
        "add_letter",
        "get_letter",
        "replaying",
        "remove_letter",
        "find_letters",
    ),
}

_CHECKED = ("append_all", "complete", "record")
_READS = (
    "look_append",
    "read_stream",
    "read_all",
    "load_snapshot",
    "count_snapshots",
    "is_held",
    "look",
    "lock_left",
    "outbox_stats",
    "due_in",
    "get_letter",
)

COMMIT = "commit"
"""The script of a unit of work."""


class Script(msgspec.Struct, frozen=True):
    """One script.

    Parameters:
        name: the operation.
        body: its Lua.
        sha: what the server knows it by.
        writes: whether it may write.
    """

    name: str
    body: str
    sha: str
    writes: bool


@functools.cache
def load_scripts() -> dict[str, Script]:
    """Return every script by its operation; reads files, so not on an event loop's thread."""
    folder = files("catga_redis") / "lua"
    text = {
        name: (folder / f"{name}.lua").read_text(encoding="utf-8")
        for name in ("prelude", "application", "commit", *_MODULES)
    }
    scripts: dict[str, Script] = {}
    for module, operations in _MODULES.items():
        for name in operations:
            body = f"{text['prelude']}\n{text[module]}\n{_ending(name)}"
            scripts[name] = _script(name, body)
    everything = "\n".join(text[name] for name in ("prelude", *_MODULES, "application", "commit"))
    scripts[COMMIT] = _script(COMMIT, everything)
    return scripts


def _ending(name: str) -> str:
    if name in _CHECKED:
        return (
            f"local refused = checks.{name}(ARGV, 2)\nif refused then\n  return refused\nend\n"
            f"local result = applies.{name}(ARGV, 2)\ntell()\nreturn {{ 'ok', result }}\n"
        )
    return f"local result = applies.{name}(ARGV, 2)\ntell()\nreturn result\n"


def _script(name: str, body: str) -> Script:
    sha = hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()
    return Script(name, body, sha, name not in _READS)
