"""Which events of the log a consumer handles: decided by stream and name, before anything is decoded."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import translate

from catga_core.errors import ConfigurationError
from catga_core.event_sourcing.consumers.unknown import UnknownEvents
from catga_core.event_sourcing.event_types import EventTypes
from catga_core.interfaces.event_log import RecordedEvent
from catga_core.messages import Event, message_type


class Selection:
    """Decides which events a consumer handles.

    It handles an event whose class, or a base of it, was asked for. An event of an unknown name is passed over and noted
    in `unknown`, except where all events were asked for and it is not foreign, or where it has the name of a class that was: then it cannot be
    decoded, and the policy for failing events decides.

    Args:
        types: The classes of the events.
        classes: Those that are asked for; `Event` for all.
        stream: A glob on the stream's name (`order-*`), `None` for all streams.
        unknown: Notes events of unknown names.

    Raises:
        ConfigurationError: For an empty pattern, or two classes with one name and version.
    """

    def __init__(
        self,
        types: EventTypes,
        classes: Collection[type[Event]],
        *,
        stream: str | None = None,
        unknown: UnknownEvents,
    ) -> None:
        if stream == "":
            msg = "the pattern for streams is empty, and no stream has such a name: leave it out for all streams"
            raise ConfigurationError(msg)
        self._types = types
        self.unknown: UnknownEvents = unknown
        self._classes = tuple(classes)
        self._all = Event in self._classes
        concrete = [each for asked in self._classes for each in _with_subclasses(asked) if each is not Event]
        if not self._all:
            # What is asked for has to be known, or its old events could not be distinguished from others.
            types.register(*concrete)
        else:
            types.register(*(each for each in self._classes if each is not Event))
        self._names = {message_type(each).name for each in concrete}
        self._matches = None if stream in {None, "*"} else re.compile(translate(stream or "*")).match
        self._wanted: dict[tuple[str, int], bool] = {}

    def wants(self, recorded: RecordedEvent) -> bool:
        """Return whether the consumer handles an event."""
        if self._matches is not None and self._matches(recorded.stream_id) is None:
            return False
        record = recorded.record
        shape = (record.name, record.schema_version)
        known = self._wanted.get(shape)
        return self._decide(shape, recorded) if known is None else known

    def _decide(self, shape: tuple[str, int], recorded: RecordedEvent) -> bool:
        if self._all:
            foreign = self.unknown.is_foreign(shape[0])
            return not foreign or bool(self._types.newest(*shape)[1])
        end, classes = self._types.newest(*shape)
        if len(classes) != 1:
            # Not kept: the class may be imported, and an ambiguous name registered, any time.
            if shape[0] in self._names or end[0] in self._names:
                return True
            if not classes:
                self.unknown.note(recorded)
            return any(issubclass(each, self._classes) for each in classes)
        wanted = self._wanted[shape] = issubclass(classes[0], self._classes)
        return wanted


def _with_subclasses(cls: type[Event]) -> list[type[Event]]:
    found = [cls]
    if cls is not Event:
        for each in cls.__subclasses__():
            found += _with_subclasses(each)
    return found
