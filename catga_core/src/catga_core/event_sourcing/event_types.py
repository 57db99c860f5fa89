"""`EventTypes`: which class a stored event is an object of, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

from catga_core.errors import CatgaError, ConfigurationError, SerializationError
from catga_core.event_sourcing.catalog import EventCatalog
from catga_core.event_sourcing.upcasting import Fields, Shape, Upcaster, Upcasters
from catga_core.handlers.hints import shown, with_place
from catga_core.interfaces.event_log import EventKind, EventRecord
from catga_core.messages import Event, message_type
from catga_core.messages.serialization import json_serializer, msgpack_serializer
from catga_core.messages.serializer import Serializer

_Decode: TypeAlias = Callable[[bytes], Event]


class EncodedEvent(NamedTuple):
    """What is stored of an event.

    Parameters:
        name: its wire name.
        schema_version: the version of its shape.
        format: the serializer that made the bytes.
        data: the bytes.
    """

    name: str
    schema_version: int
    format: str
    data: bytes


class EventTypes:
    """The event classes a program knows, by wire name and version, and the upcasters of older versions.

    A class is learned when an object of it is stored; what is only read has to be registered.

    Parameters:
        serializer: makes the bytes; `None` for msgpack.
        catalog: what it knows from the beginning; a container puts in what `add_events` and `add_upcasters` were given.
        formats: further serializers to read with, beside that one and the two built-in ones.

    Raises:
        ConfigurationError: when two of `serializer` and `formats` have one name, or the catalog has something that
            `register` or `add_upcasters` refuses.
    """

    # There without being registered, made of what its constructor asks for (catga_core.container.app.stores).
    __catga_default__: ClassVar[bool] = True

    __slots__ = ("_classes", "_decoders", "_formats", "_serializer", "_shapes", "_upcasters")

    def __init__(
        self,
        serializer: Serializer | None = None,
        *,
        catalog: EventCatalog | None = None,
        formats: Sequence[Serializer] = (),
    ) -> None:
        self._serializer = serializer or msgpack_serializer()
        self._formats: dict[str, Serializer] = {}
        for each in (self._serializer, *formats):
            if self._formats.setdefault(each.name, each) is not each:
                msg = f"two serializers are called {each.name!r}, and events are read by that name: give one another"
                raise ConfigurationError(msg)
        for built_in in (msgpack_serializer(), json_serializer()):
            self._formats.setdefault(built_in.name, built_in)
        self._classes: dict[Shape, type[Event]] = {}
        self._shapes: dict[type[Event], Shape] = {}
        self._upcasters = Upcasters()
        self._decoders: dict[EventKind, _Decode] = {}
        if catalog is not None:
            self.register(*catalog.events)
            self.add_upcasters(*catalog.upcasters)

    def register(self, *classes: type[Event]) -> None:
        """Make event classes known, so that stored events of their name and version can be read.

        Parameters:
            classes: derived from `Event`; registering one again changes nothing.

        Raises:
            ConfigurationError: for what is no event class, and for two classes of one name and version.
        """
        for cls in classes:
            if cls not in self._shapes:
                self._learn(cls)

    def add_upcasters(self, *upcasters: Upcaster) -> None:
        """Make upcasters known.

        Parameters:
            upcasters: made with `@upcaster(...)`; adding one again changes nothing.

        Raises:
            ConfigurationError: when two take the same name and version, or one was not made with `@upcaster(...)`.
        """
        each: Any  # a caller without a type checker may give the bare function
        for each in upcasters:
            if not isinstance(each, Upcaster):
                name = getattr(each, "__qualname__", repr(each))
                msg = f'{name} does not say what it takes: decorate it with @upcaster("its.name", from_version=...)'
                raise ConfigurationError(msg)
            self._upcasters.add(each)
        self._decoders.clear()

    @property
    def known(self) -> list[type[Event]]:
        """The registered classes, by name and version."""
        return [cls for _, cls in sorted(self._classes.items(), key=lambda each: each[0])]

    def check(self) -> None:
        """Check that every chain of upcasters ends with a registered class; the container does so when it starts.

        Raises:
            ConfigurationError: listing every gap and every circle.
        """
        problems = self._upcasters.problems(self._classes)
        if problems:
            raise ConfigurationError(problems)

    def encode(self, event: Event, /) -> EncodedEvent:
        """Return what is stored of an event; its class is known from then on.

        Parameters:
            event: an object of a class derived from `Event`.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` when it has no bytes, and when its class has the name and version of
                another one.
        """
        shape = self._shapes.get(type(event))
        if shape is None:
            try:
                shape = self._learn(type(event))
            except ConfigurationError as cause:
                raise SerializationError(str(cause)) from cause
        serializer = self._serializer
        return EncodedEvent(*shape, serializer.name, serializer.encode(event))

    def decode(self, record: EventRecord, /) -> Event:
        """Return the event that a record holds, brought to its newest version.

        Parameters:
            record: as the log has it.

        Raises:
            CatgaError: `SERIALIZATION_FAILED`, naming the event and how to mend it: its type is not registered, its
                version is newer than any known, its format has no serializer, an upcaster failed, or its bytes do not fit.
        """
        try:
            return self.decoder_for((record.name, record.schema_version, record.format))(record.data)
        except CatgaError as cause:
            raise _unreadable(record, cause.message) from cause
        except ConfigurationError as cause:
            raise _unreadable(record, str(cause)) from cause

    def decoder_for(self, kind: EventKind, /) -> Callable[[bytes], Event]:
        """Return what makes newest events of the bytes of one kind; its errors do not name the event, as those of `decode` do.

        Parameters:
            kind: wire name, version and format, as they are stored.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` when its type is not registered, its version is newer than any known, or its
                format has no serializer.
            ConfigurationError: when its upcasters lead nowhere.
        """
        # Found by one look-up for all events of a kind: this is where loading an aggregate spends its time.
        decode = self._decoders.get(kind)
        if decode is None:
            decode = self._decoders[kind] = self._compile(*kind)
        return decode

    def newest(self, name: str, version: int) -> tuple[Shape, type[Event] | None]:
        """Return what an event becomes, without decoding it: the shape at the end of its upcasters, and the class of that.

        Parameters:
            name: the wire name it is stored with.
            version: the version of its shape.

        Returns:
            the class is `None` where none is registered.
        """
        try:
            _, end = self._upcasters.chain((name, version))
        except ConfigurationError:
            return (name, version), None
        return end, self._classes.get(end)

    # --- inside ---

    def _learn(self, cls: Any) -> Shape:
        if not (isinstance(cls, type) and issubclass(cls, Event)) or cls is Event:
            msg = f"{shown(cls)} is no event class: register classes derived from Event"
            raise ConfigurationError(msg)
        facts = message_type(cls)
        shape = (facts.name, facts.version)
        known = self._classes.get(shape)
        if known is not None and known is not cls:
            msg = (
                f"two event classes are called {facts}: {with_place(known.__qualname__, known)} and "
                f"{with_place(cls.__qualname__, cls)}: give one another name or version with "
                f'@message(name="...", version=...)'
            )
            raise ConfigurationError(msg)
        self._classes[shape] = cls
        self._shapes[cls] = shape
        return shape

    def _compile(self, name: str, version: int, format: str) -> _Decode:
        serializer = self._formats.get(format)
        if serializer is None:
            known = ", ".join(sorted(self._formats))
            msg = (
                f"it was stored in the format {format!r}, and there are only {known}: "
                f"give EventTypes(formats=[...]) the serializer of that name"
            )
            raise SerializationError(msg)
        steps, end = self._upcasters.chain((name, version))
        cls = self._classes.get(end)
        if cls is None:
            raise SerializationError(self._unknown(end))
        decode = serializer.decoder(cls)
        return _upcasting(serializer, steps, decode) if steps else decode

    def _unknown(self, shape: Shape) -> str:
        name, version = shape
        versions = sorted(known for other, known in self._classes if other == name)
        if not versions:
            registered = ", ".join(f"{other} v{known}" for other, known in sorted(self._classes)) or "nothing"
            return (
                f"no class is registered for {name} v{version} (registered: {registered}): "
                "register it, with EventTypes.register(...) or add_events(container, ...)"
            )
        if version > versions[-1]:
            return (
                f"{name} v{version} is newer than v{versions[-1]}, the newest version this program knows: "
                "run the program that wrote it, or register the class of that version"
            )
        shown_versions = ", ".join(f"v{each}" for each in versions)
        return (
            f"nothing leads from {name} v{version} to a registered version ({shown_versions}): "
            f'add @upcaster("{name}", from_version={version})'
        )


def _upcasting(serializer: Serializer, steps: Sequence[Upcaster], decode: _Decode) -> _Decode:
    raw = serializer.decoder(dict[str, Any])
    encode = serializer.encode

    def upcast(data: bytes) -> Event:
        fields = raw(data)
        for step in steps:
            fields = _stepped(step, fields)
        # Through bytes again, so that any serializer does it and reads its own way of writing times and numbers.
        return decode(encode(fields))

    return upcast


def _stepped(step: Upcaster, fields: Fields) -> Fields:
    try:
        made: object = step.function(fields)
    except Exception as cause:
        # The exception's own text may quote what is in the event; it is there as the cause.
        msg = f"its upcaster raised {type(cause).__name__}: {step}"
        raise SerializationError(msg) from cause
    if not isinstance(made, dict):
        msg = f"its upcaster returned no dict but {type(made).__name__}: {step}"
        raise SerializationError(msg)
    return made  # pyright: ignore[reportUnknownVariableType] - whatever is in it is checked when it is decoded


def _unreadable(record: EventRecord, why: str) -> CatgaError:
    return SerializationError(
        f"the event {record.message_id!r} ({record.name} v{record.schema_version}) cannot be read: {why}",
        details={
            "message_id": record.message_id,
            "name": record.name,
            "schema_version": record.schema_version,
            "format": record.format,
        },
    )
