"""`EventTypes`: encode events for the event store, and decode what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from catga_core.descriptions import shown
from catga_core.errors import AmbiguousMessageError, CatgaError, ConfigurationError, SerializationError
from catga_core.interfaces.event_log import EventKind, EventRecord
from catga_core.messages import Event, Message
from catga_core.messages.class_changes import class_changes
from catga_core.messages.exact import exact_encoder
from catga_core.messages.registry import MessageRegistry
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from catga_core.messages.serializer import Serializer
from catga_core.messages.upcasting import Shape, Upcaster


class EncodedEvent(NamedTuple):
    """What is stored of an event.

    Attributes:
        name: Its wire name.
        schema_version: The version of its shape.
        format: The serializer that made the bytes.
        data: The bytes.
    """

    name: str
    schema_version: int
    format: str
    data: bytes


class EventTypes:
    """The event store's view of the message registry: events to bytes and back, in every known format.

    Args:
        serializer: Makes the bytes; `None` for msgpack.
        registry: The message classes and upcasters; `None` for a registry of its own.
        formats: Further serializers to read with, besides that one and the two built-in ones.

    Raises:
        ConfigurationError: When two of `serializer` and `formats` have one name.
    """

    # There without being registered, made of what its constructor asks for (catga_core.container.app.stores).
    __catga_default__: ClassVar[bool] = True

    __slots__ = ("_decoders", "_encoders", "_formats", "_revision", "_serializer", "registry")

    def __init__(
        self,
        serializer: Serializer | None = None,
        *,
        registry: MessageRegistry | None = None,
        formats: Sequence[Serializer] = (),
    ) -> None:
        self.registry: MessageRegistry = registry or MessageRegistry()
        self._serializer = serializer or msgpack_serializer()
        self._formats: dict[str, Serializer] = {}
        for each in (self._serializer, *formats):
            if self._formats.setdefault(each.name, each) is not each:
                msg = (
                    f"Two serializers are named {each.name!r}, and events are read by that name. Rename one."
                )
                raise ConfigurationError(msg)
        for built_in in (msgpack_serializer(), json_serializer()):
            self._formats.setdefault(built_in.name, built_in)
        self._encoders: dict[type[Event], tuple[str, int, str, Callable[[Event], bytes]]] = {}
        self._decoders: dict[EventKind, Callable[[bytes], Event]] = {}
        self._revision = self.registry.revision

    def register(self, *classes: type[Event]) -> None:
        """Register event classes, so that they win over imported classes of the same name and version.

        Args:
            classes: Derived from `Event`. Registering one again changes nothing.

        Raises:
            ConfigurationError: For anything that is not an event class, and for two classes with one name and version.
        """
        cls: Any
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, Event)) or cls is Event:
                msg = f"{shown(cls)} is not an event class. Register classes derived from Event."
                raise ConfigurationError(msg)
        self.registry.register(*classes)

    def add_upcasters(self, *upcasters: Upcaster) -> None:
        """Register upcasters.

        Args:
            upcasters: Made with `@upcaster(...)`. Registering one again changes nothing.

        Raises:
            ConfigurationError: When two take the same name and version, or one was not made with `@upcaster(...)`.
        """
        self.registry.add_upcasters(*upcasters)

    @property
    def serializer(self) -> Serializer:
        """The serializer of new events."""
        return self._serializer

    @property
    def known(self) -> list[type[Event]]:
        """The event classes that were registered or appended, by name and version; imported ones are known besides."""
        return [cls for cls in self.registry.registered if issubclass(cls, Event)]

    def check(self) -> None:
        """Check that every chain of upcasters ends with a known class; the container does so when it starts.

        Raises:
            ConfigurationError: Listing every gap and every circle.
        """
        self.registry.check()

    def encode(self, event: Event, /) -> EncodedEvent:
        """Return what is stored of an event; its class wins over merely imported ones of its name from then on.

        Args:
            event: An object of a class derived from `Event`.

        Raises:
            SerializationError: When it cannot be serialized or would not be read back as it is, and when another class of
                the same name and version is registered, handled or was appended.
        """
        cls = type(event)
        known = self._encoders.get(cls)
        if known is None:
            encode = exact_encoder(self._serializer, cls)
            known = self._encoders[cls] = (*self.registry.use(cls), self._serializer.name, encode)
        name, version, format, encode = known
        # As EncodedEvent(...), at half its price: this is run for every event that is appended.
        # pyright reads the element type of tuple.__new__ as unknown.
        return tuple.__new__(EncodedEvent, (name, version, format, encode(event)))  # pyright: ignore[reportUnknownMemberType]

    def decode(self, record: EventRecord, /) -> Event:
        """Return the event of a record, upcast to its newest version.

        Args:
            record: The record of the log.

        Raises:
            SerializationError: Naming the event and the fix: its class is unknown or its name
                ambiguous, its version is newer than any known, its format has no serializer, an upcaster failed, or its
                bytes do not fit.
        """
        try:
            return self.decoder_for((record.name, record.schema_version, record.format))(record.data)
        except CatgaError as cause:
            raise _unreadable(record, cause.message) from cause

    def decoder_for(self, kind: EventKind, /) -> Callable[[bytes], Event]:
        """Return the decoder of one kind of events; its errors do not name the event, as those of `decode` do.

        Args:
            kind: Wire name, version and format, as they are stored.

        Raises:
            SerializationError: As `decode`.
        """
        # One look-up for all events of a kind: this is where loading an aggregate spends its time, so that
        # `registry.revision` stands here itself.
        revision = self.registry.changes + class_changes.count
        if revision != self._revision:
            self._decoders.clear()
            self._revision = revision
        decode = self._decoders.get(kind)
        if decode is None:
            decode = self._decoders[kind] = self._compile(*kind)
        return decode

    def newest(self, name: str, version: int) -> tuple[Shape, list[type[Message]]]:
        """Return what an event becomes, without decoding it.

        Args:
            name: The wire name it is stored with.
            version: The version of its shape.

        Returns:
            The name and version at the end of its upcasters, and the classes of that: none for an unknown event, several
            for an ambiguous one.
        """
        try:
            end, found = self.registry.newest(name, version, Event)
        except AmbiguousMessageError as error:
            end = (error.name, error.version)
            return end, [each.cls for each in self.registry.candidates(*end, Event)]
        return end, [] if found is None else [found.cls]

    # --- inside ---

    def _compile(self, name: str, version: int, format: str) -> Callable[[bytes], Event]:
        serializer = self._formats.get(format)
        if serializer is None:
            known = ", ".join(sorted(self._formats))
            msg = (
                f"it was stored in the format {format!r}, and only {known} are known: "
                f"give EventTypes(formats=[...]) the serializer of that name"
            )
            raise SerializationError(msg)
        return self.registry.decoder(name, version, serializer, Event)[1]


def _unreadable(record: EventRecord, why: str) -> SerializationError:
    return SerializationError(
        f"the event {record.message_id!r} ({record.name} v{record.schema_version}) cannot be read: {why}",
        details={
            "message_id": record.message_id,
            "name": record.name,
            "schema_version": record.schema_version,
            "format": record.format,
        },
    )
