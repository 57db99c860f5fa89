"""Which registered handlers handle a message class: its own, and those of its base classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catga_core.container.app.conflicts import two_handlers
from catga_core.container.app.entries import HandlerEntry
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import with_place
from catga_core.messages import Event, Message, MessageKind, MessageType, message_type
from catga_core.messages.imported import imported_classes
from catga_core.messages.types import wire_name


class HandlerTable:
    """The registered handlers of messages.

    An event goes to every handler of its class and of its base classes, once each, in the order of registration. A request
    goes to the handler of its class, or of its nearest base class that has one.
    """

    def __init__(self) -> None:
        self._requests: dict[type[Message], HandlerEntry] = {}
        self._streams: dict[type[Message], HandlerEntry] = {}
        self._events: list[HandlerEntry] = []

    def __iter__(self) -> Iterator[HandlerEntry]:
        yield from self._requests.values()
        yield from self._streams.values()
        yield from self._events

    def add(self, entry: HandlerEntry) -> None:
        """Add a handler of one message class.

        Raises:
            ConfigurationError: It is registered already, or its request has another handler.
        """
        described, target = entry.definition.message_type, entry.definition.target
        if described.kind is MessageKind.EVENT:
            for known in self._events:
                if known.definition.target is target and known.definition.message_type.cls is described.cls:
                    msg = f"{with_place(entry.definition.name, target)} is already registered. Remove the duplicate."
                    raise ConfigurationError(msg)
            self._events.append(entry)
            return
        entries = self._streams if described.kind is MessageKind.STREAM else self._requests
        first = entries.get(described.cls)
        if first is not None:
            raise ConfigurationError(two_handlers(described, first.definition.target, target))
        entries[described.cls] = entry

    def request(self, cls: type[Message]) -> HandlerEntry | None:
        """Return the handler of a request class, `None` if there is none."""
        return _nearest(self._requests, cls)

    def stream(self, cls: type[Message]) -> HandlerEntry | None:
        """Return the handler of a stream query class, `None` if there is none."""
        return _nearest(self._streams, cls)

    def events(self, cls: type[Message]) -> list[HandlerEntry]:
        """Return the handlers of an event class, each once, in the order of registration."""
        found: dict[object, HandlerEntry] = {}
        for entry in self._events:
            if issubclass(cls, entry.definition.message_type.cls):
                found.setdefault(entry.definition.target, entry)
        return list(found.values())

    def of(self, cls: type[Message]) -> list[HandlerEntry]:
        """Return the handlers of a message class."""
        single = self.request(cls) or self.stream(cls)
        return self.events(cls) if single is None else [single]

    def registered(self) -> list[type[Message]]:
        """Return the classes that handlers are registered for; without `Event` itself."""
        classes = [entry.definition.message_type.cls for entry in self]
        return [cls for cls in classes if cls is not Event]

    def namesake(self, described: MessageType) -> type[Message] | None:
        """Return another class of a message's wire name, or else of its class name, that has a handler."""
        others = [cls for cls in self.registered() if cls is not described.cls]
        same_name = (cls for cls in others if message_type(cls).name == described.name)
        same_class_name = (cls for cls in others if cls.__name__ == described.cls.__name__)
        return next(same_name, None) or next(same_class_name, None)

    def served_requests(self) -> list[type[Message]]:
        """Return the request classes that are handled here: those registered, and those below them."""
        return _with_subclasses(self._requests)

    def served_streams(self) -> list[type[Message]]:
        """Return the stream query classes that are handled here: those registered, and those below them."""
        return _with_subclasses(self._streams)

    def served_events(self, *, below_event: bool = True) -> list[type[Message]]:
        """Return the event classes that are handled here: those registered, and those below them.

        Args:
            below_event: Whether a handler of `Event` counts, which handles every event class of the process.
        """
        asked = [entry.definition.message_type.cls for entry in self._events]
        return _with_subclasses(cls for cls in asked if below_event or cls is not Event)


def _nearest(entries: dict[type[Message], HandlerEntry], cls: type[Message]) -> HandlerEntry | None:
    return next((entries[each] for each in cls.__mro__ if each in entries), None)


def _with_subclasses(classes: Iterable[type[Message]]) -> list[type[Message]]:
    """Return classes and all below them that have been defined; `Event` itself is never published."""
    bases = tuple(dict.fromkeys(classes))
    found = dict.fromkeys(bases)
    # Looked up by name, which leaves out the classes that nothing uses any more.
    taken = {wire_name(cls) for cls in bases}
    for name, version in dict.fromkeys(_names_below(bases)):
        if (name, version) in taken:
            # A class that is registered wins over one that is merely defined.
            continue
        for cls in imported_classes.named(name, version, Message):
            if issubclass(cls, bases):
                found[cls] = None
    found.pop(Event, None)
    return list(found)


def _names_below(bases: Iterable[type[Message]]) -> Iterator[tuple[str, int]]:
    for base in bases:
        subclasses = base.__subclasses__()
        yield from map(wire_name, subclasses)
        yield from _names_below(subclasses)
