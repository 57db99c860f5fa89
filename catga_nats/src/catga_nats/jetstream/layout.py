"""The names of everything in JetStream: streams, subjects, consumers, keys (docs/nats-layout.md)."""

from __future__ import annotations

import re
from hashlib import blake2b

from catga_core.errors import ConfigurationError
from catga_core.messages.delivery import Priority
from catga_nats.subjects import Subjects

PARTITIONS = 64
"""Into how many partitions keys are divided; a message's partition is part of its subject, so this never changes."""

UNORDERED = "any"
"""The slot of an event without a key."""

SLOTS = {Priority.HIGH: "high", Priority.NORMAL: "normal", Priority.LOW: "low"}
"""The slots of commands without a key, by priority."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_READABLE = 80  # characters of a queue's name in its consumers' names


def partition_of(key: str) -> int:
    """Return the partition of a key: the first 8 bytes of its BLAKE2b-64 digest, big-endian, modulo 64."""
    digest = blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % PARTITIONS


def group_of(partition: int, groups: int) -> int:
    """Return the group of consumers that a partition belongs to."""
    return partition % groups


def token(text: str) -> str:
    """Return a text as one word of a subject: itself where it can be one, else a digest of it."""
    if _TOKEN.fullmatch(text):
        return text
    return "x" + blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def consumer_prefix(queue: str) -> str:
    """Return how the consumers of every queue begin whose name begins so."""
    return _UNSAFE.sub("_", queue)[:_READABLE]


def consumer_name(queue: str) -> str:
    """Return how the names of a queue's consumers begin: readable, and unique by a digest."""
    digest = blake2b(queue.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    return f"{consumer_prefix(queue)}-{digest}"


class Layout:
    """The names under one subject prefix.

    Args:
        prefix: The subject prefix.
        groups: How many consumers share the keys of a queue.
    """

    def __init__(self, prefix: str, groups: int) -> None:
        base = _UNSAFE.sub("_", prefix)
        self.groups: int = groups
        self.events_stream: str = f"{base}_events"
        self.commands_stream: str = f"{base}_commands"
        self.parked_stream: str = f"{base}_parked"
        self.state_bucket: str = f"{base}_queues"
        self.results_bucket: str = f"{base}_results"
        self.events: str = f"{prefix}.js.event"
        self.commands: str = f"{prefix}.js.command"
        self.schedules: str = f"{prefix}.js.schedule"
        self.parked: str = f"{prefix}.js.parked"
        # They check that a name can be part of a subject.
        self._events = Subjects(f"{prefix}.js", "event")
        self._commands = Subjects(f"{prefix}.js", "command")
        self._schedules = Subjects(f"{prefix}.js", "schedule")

    def event(self, name: str, key: str | None) -> bytes:
        """Return the subject of an event.

        Raises:
            SerializationError: The name cannot be part of a subject.
        """
        slot = UNORDERED if key is None else f"p{partition_of(key)}"
        return b"%b.%b" % (self._events[name], slot.encode())

    def command(self, name: str, key: str | None, priority: Priority, message_id: str) -> bytes:
        """Return the subject of a command; its id is the last word, so that it can be found.

        Raises:
            SerializationError: The name cannot be part of a subject.
        """
        slot = SLOTS[priority] if key is None else f"p{partition_of(key)}"
        return b"%b.%b.%b" % (self._commands[name], slot.encode(), token(message_id).encode())

    def schedule(self, name: str, message_id: str) -> bytes:
        """Return the subject where a command waits for its time."""
        return b"%b.%b" % (self._schedules[name], token(message_id).encode())

    def parked_subject(self, queue: str, key: str) -> str:
        """Return the subject where the messages of a held key wait."""
        return f"{self.parked}.{consumer_name(queue)[-12:]}.{token(key)}"

    def filters(self, names: tuple[str, ...], slot: str, *, command: bool) -> list[str]:
        """Return what the consumer of a slot takes.

        Args:
            names: The wire names of the messages.
            slot: `any`, a priority, or `g` and the number of a group.
            command: Whether they are commands.

        Raises:
            ConfigurationError: A name cannot be part of a subject.
        """
        slots = [slot]
        if slot.startswith("g"):
            group = int(slot[1:])
            slots = [f"p{each}" for each in range(PARTITIONS) if group_of(each, self.groups) == group]
        try:
            bases = [(self._commands if command else self._events)[name].decode() for name in names]
        except Exception as error:
            raise ConfigurationError(str(error)) from error
        end = ".*" if command else ""
        return [f"{base}.{each}{end}" for base in sorted(bases) for each in slots]

    def name_in(self, subject: str) -> str:
        """Return the wire name in a subject, for a message whose headers do not tell it."""
        for start, words in (
            (self.events + ".", 1),
            (self.commands + ".", 2),
            (self.schedules + ".", 1),
        ):
            if subject.startswith(start):
                return subject[len(start) :].rsplit(".", words)[0]
        return subject
