"""Where messages travel: the subjects, the queue groups, and which names can be part of them."""

from __future__ import annotations

import re

from catga_core.errors import ConfigurationError, SerializationError
from catga_core.messages.peer_texts import MAX_NAME, shown_text, text_problem

REQUEST_GROUP = "catga"
"""The queue group of every request: all processes that handle it are replicas of one another, whatever the services
are called, and exactly one of them gets it."""

_WORDS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_UNSAFE = re.compile(r"[\s*>\x00-\x1f\x7f]")


def prefix_problem(prefix: object) -> str | None:
    """Return what is wrong with a subject prefix, `None` for a good one."""
    if isinstance(prefix, str) and _WORDS.fullmatch(prefix) and len(prefix) <= MAX_NAME:
        return None
    shown = shown_text(prefix) if isinstance(prefix, str) else repr(prefix)
    return (
        f"NATS option subject_prefix={shown} cannot begin a subject: "
        f"use ASCII letters, digits, '_' and '-', with single dots between words, at most {MAX_NAME} characters"
    )


def check_service_name(name: str) -> None:
    """Refuse a service name that cannot be a queue group.

    Raises:
        ConfigurationError: Naming it and what to write instead.
    """
    if not _WORDS.fullmatch(name) or len(name) > MAX_NAME:
        raise ConfigurationError(
            f"service_name={shown_text(name)} cannot be the name of a NATS queue group: use ASCII letters, digits, '_' and "
            f"'-', with single dots between words, at most {MAX_NAME} characters, such as 'orders'"
        )


class Subjects(dict[str, bytes]):
    """The subjects of one kind by wire name: `<prefix>.<kind>.<name>`, each worked out once.

    Args:
        prefix: The first word of every subject.
        kind: `request` or `event`.
    """

    def __init__(self, prefix: str, kind: str) -> None:
        super().__init__()
        self._start = f"{prefix}.{kind}."

    def __missing__(self, name: str) -> bytes:
        # nats-py and the server let "a..b" and "a.*" through where a message is sent, and deliver them nowhere.
        if _UNSAFE.search(name) or not all(name.split(".")) or text_problem(name, MAX_NAME) is not None:
            raise SerializationError(
                f"the message name {shown_text(name)} cannot be part of a NATS subject: "
                "give the class one with @message(name='orders.create')",
            )
        made = self[name] = (self._start + name).encode()
        return made
