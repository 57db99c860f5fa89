"""The scripts: one for each operation, and one for each set of operations that units of work bring.

A script's top level runs at every call, and making the functions it does not use costs more than what it does. So each is put together
of the parts it needs: a part is a `local` of the Lua files, and needs those whose names stand in it.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

import msgspec

_FILES = (
    "prelude",
    "rights",
    "events",
    "snapshots",
    "checkpoints",
    "named_values",
    "memberships",
    "idempotency",
    "inbox",
    "locks",
    "outbox",
    "queue",
    "queue_looks",
    "sagas",
    "saga_looks",
    "dead_letters",
    "application",
)
_WRITES = (
    "append_one",
    "append_all",
    "save_snapshot",
    "delete_snapshots",
    "delete_checkpoint",
    "delete_value",
    "announce",
    "leave_group",
    "claim",
    "renew_claim",
    "complete",
    "release_claim",
    "record",
    "forget",
    "prune_inbox",
    "acquire",
    "renew_lock",
    "release_lock",
    "add",
    "lease",
    "renew",
    "sent",
    "retry",
    "give_back",
    "prune_outbox",
    "add_queued",
    "lease_queued",
    "renew_queued",
    "complete_queued",
    "retry_queued",
    "release_queued",
    "prune_queued",
    "begin_saga",
    "promise_saga",
    "append_saga",
    "release_saga",
    "rewrite_saga",
    "renew_sagas",
    "take_sagas",
    "claim_saga",
    "sagas_together",
    "await_saga",
    "cancel_saga",
    "add_signal",
    "prune_sagas",
    "prune_signals",
    "add_letter",
    "replaying",
    "remove_letter",
    "find_letters",  # purges, too
    "confirm",
    "probe",
)
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
    "require_queued",
    "may_discard",
    "is_key_held",
    "may_cancel",
    "get_queued",
    "queue_names",
    "find_queued",
    "queue_stats",
    "queue_due_in",
    "get_saga",
    "read_saga",
    "find_sagas",
    "list_signals",
    "sagas_due_in",
    "get_letter",
    "list_members",
    "forbidden",
)
# Only a unit of work knows, when it is asked again, that it was itself: these are one also without anything else.
_COMMITTED_ALONE = (
    "save_checkpoint",
    "set_value",
    "discard",
    "discard_queued",
    "release_key",
    "cancel_queued",
)

_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_PART = re.compile(r"^(?=local )", re.MULTILINE)
_NAMES = re.compile(r"local (?:function )?(\w+(?:, \w+)*)")
_WORD = re.compile(r"\w+")
_CALLED = re.compile(r"redis\.call\('([A-Z]+)'")
_QUOTED = re.compile(r"'[^'\n]*'")


class Script(msgspec.Struct, frozen=True):
    """One script.

    Args:
        name: The operation.
        body: Its Lua.
        sha: What the server knows it by.
        writes: Whether it may write.
    """

    name: str
    body: str
    sha: str
    writes: bool


class Scripts:
    """Every script.

    Args:
        library: The text of the Lua files, one after another.
        commit: The end of the script of a unit of work.
    """

    def __init__(self, library: str, commit: str) -> None:
        # The commands that the scripts give, but for those that only tell news or the time.
        self._parts = [part for part in _PART.split(_COMMENT.sub("", library)) if part.startswith("local ")]
        self._of = {name: part for part in self._parts for name in _names(part)}
        self._commit = commit
        self._commits: dict[frozenset[str], Script] = {}
        self.called: list[str] = sorted(set(_CALLED.findall(library)) - {"TIME"})
        self.operations: dict[str, Script] = {
            name: self._operation(name, writes=names is _WRITES)
            for names in (_WRITES, _READS)
            for name in names
        }

    def known_before(self) -> list[Script]:
        """Return the scripts that a server is told at the start; another is sent whole at its first use."""
        return [*self.operations.values(), *(self.commit([name]) for name in _COMMITTED_ALONE)]

    @staticmethod
    def forbidden(found: Sequence[bytes]) -> str | None:
        """Return in words which commands a user may not give, `None` for none.

        Args:
            found: What the script `forbidden` answered.
        """
        return f"the user may not give {', '.join(name.decode() for name in found)}" if found else None

    def commit(self, operations: Iterable[str]) -> Script:
        """Return the script of a unit of work that brings these operations, and no others."""
        names = frozenset(operations)
        found = self._commits.get(names)
        if found is None:
            checks = [name for name in sorted(names) if f"check_{name}" in self._of]
            tables = (
                f"local checks = {{ {', '.join(f'{name} = check_{name}' for name in checks)} }}\n"
                f"local applies = {{ {', '.join(f'{name} = apply_{name}' for name in sorted(names))} }}\n"
            )
            found = self._commits[names] = self._script("commit", tables + self._commit, writes=True)
        return found

    def _operation(self, name: str, *, writes: bool) -> Script:
        check = f"local refused = check_{name}(ARGV, 2)\nif refused then\n  return refused\nend\n"
        ending = f"local result = apply_{name}(ARGV, 2)\n"
        if f"check_{name}" in self._of:
            ending = check + ending
        if "wake" in self._needed(ending):
            ending += "tell()\n"
        return self._script(name, f"{ending}return result\n", writes=writes)

    def _script(self, name: str, ending: str, *, writes: bool) -> Script:
        needed = self._needed(ending)
        parts = [part for part in self._parts if not needed.isdisjoint(_names(part))]
        body = "".join([*parts, ending])
        return Script(name, body, hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest(), writes)

    def _needed(self, text: str) -> set[str]:
        needed: set[str] = set()
        texts = [text]
        while texts:
            fresh = (set(_WORD.findall(_QUOTED.sub("", texts.pop()))) & self._of.keys()) - needed
            needed |= fresh
            texts += [self._of[name] for name in fresh]
        return needed


@functools.cache
def load_scripts() -> Scripts:
    """Return every script; reads files, so not on an event loop's thread."""
    folder = files("catga_redis.engine") / "lua"
    library = "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in _FILES)
    return Scripts(library, (folder / "commit.lua").read_text(encoding="utf-8"))


def _names(part: str) -> list[str]:
    found = _NAMES.match(part)
    return found[1].split(", ") if found else []
