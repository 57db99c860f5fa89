"""What can be set about JetStream, checked as soon as it is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from catga_core.errors import ConfigurationError
from catga_core.option_checks import choice_problems, named_options, seconds_problems, whole_number_problems
from catga_nats.jetstream.layout import PARTITIONS

StreamStorage = Literal["file", "memory"]
Schedules = Literal["server", "framework"]
_REPLICAS = (1, 3, 5)  # an even number survives no more failures than the odd one below it
_LEAST_MEMBERSHIP = 2.0  # seconds; the server keeps time to live in whole ones


@named_options
@dataclass(frozen=True, slots=True)
class JetStreamOptions:
    """How JetStream keeps durable messages; `docs/nats-layout.md` says what each promises.

    Every process of a subject prefix needs the same. Streams have no limit of age, so that no message is dropped unhandled.

    Args:
        replicas: How many servers keep each stream: 1, 3 or 5.
        storage: `"file"`; `"memory"` loses everything with the last server.
        max_event_bytes: Bytes of events after which further ones are refused; `None` for what the account permits.
        duplicate_window_seconds: Seconds for which an id is known, so that a repeated publish of it adds nothing.
        order_groups: How many parts the keys of a queue are divided into. One process handles a part, so that at most so many
            share the messages with keys of one queue.
        membership_seconds: Seconds after which another process takes over the parts of one that died.
        max_buffered: How many messages of a queue wait in one process behind earlier ones of their keys.
        result_seconds: Seconds for which results of enqueued commands are kept.
        schedules: Who publishes commands whose time has come: `"server"` needs nats-server 2.12; `"framework"`, a process that receives,
            works with 2.11 and where another stream sources the stream of commands. `None`: the server, where it can and the stream
            was not declared otherwise.
        max_buffered_bytes: The same as `max_buffered`, in bytes of their payloads.
    """

    replicas: int = 1
    storage: StreamStorage = "file"
    max_event_bytes: int | None = None
    duplicate_window_seconds: float = 120.0
    order_groups: int = 8
    membership_seconds: float = 10.0
    max_buffered: int = 1024
    result_seconds: float = 86_400.0
    schedules: Schedules | None = None
    max_buffered_bytes: int = 64 * 1024 * 1024

    @property
    def weaknesses(self) -> dict[str, str]:
        """The settings with which messages that were acknowledged may be lost, and with what."""
        weak: dict[str, str] = {}
        if self.replicas == 1:
            weak["replicas=1"] = "everything is lost with the server's disk"
        if self.storage == "memory":
            weak["storage='memory'"] = "everything is lost when the last server stops"
        return weak

    def __post_init__(self) -> None:
        """Check everything.

        Raises:
            ConfigurationError: Listing everything that is wrong.
        """
        problems = [
            *choice_problems(self, "replicas", _REPLICAS, system="JetStream"),
            *choice_problems(self, "storage", get_args(StreamStorage), system="JetStream"),
            *choice_problems(self, "schedules", (*get_args(Schedules), None), system="JetStream"),
            *whole_number_problems(self, ("order_groups",), system="JetStream", most=PARTITIONS),
            *whole_number_problems(self, ("max_buffered", "max_buffered_bytes"), system="JetStream"),
            *seconds_problems(self, ("duplicate_window_seconds", "result_seconds"), system="JetStream"),
            *seconds_problems(self, ("membership_seconds",), system="JetStream", least=_LEAST_MEMBERSHIP),
        ]
        if self.max_event_bytes is not None:
            problems += whole_number_problems(self, ("max_event_bytes",), system="JetStream")
        if problems:
            raise ConfigurationError(problems)
