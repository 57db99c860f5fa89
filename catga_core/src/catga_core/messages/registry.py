"""`MessageRegistry`: find the class of a message by its wire name and version, through its upcasters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from catga_core.descriptions import shown
from catga_core.errors import (
    AmbiguousMessageError,
    ConfigurationError,
    SerializationError,
    UnknownMessageError,
)
from catga_core.messages.catalog import MessageCatalog
from catga_core.messages.class_changes import class_changes
from catga_core.messages.encodable import class_problems
from catga_core.messages.imported import imported_classes
from catga_core.messages.registry_texts import two_classes, unknown_class
from catga_core.messages.serializer import Serializer
from catga_core.messages.serializers import reader_of
from catga_core.messages.types import Message, MessageType, message_type, no_upcasting
from catga_core.messages.upcasting import Shape, Upcaster, Upcasters, upcasting

M = TypeVar("M", bound=Message)


class MessageRegistry:
    """The message classes a program knows, by wire name and version, and the upcasters of older versions.

    Every message class of the process is known, from the moment its module is imported. Of several classes with one
    name and version the registered one is used, else the handled one, else the one that this registry saw being
    stored; if all of them are merely imported, the name is ambiguous, which is an error where the name is used.

    Args:
        catalog: The initial content; a container fills it with what `add_events` and `add_upcasters` were given.

    Raises:
        ConfigurationError: When the catalog has something that `register` or `add_upcasters` refuses.
    """

    # There without being registered, made of what its constructor asks for (catga_core.container.app.stores).
    __catga_default__: ClassVar[bool] = True

    __slots__ = (
        "_closed",
        "_decoders",
        "_decoders_at",
        "_found",
        "_found_at",
        "_handled",
        "_registered",
        "_upcasters",
        "_used",
        "changes",
    )

    def __init__(self, catalog: MessageCatalog | None = None) -> None:
        self._registered: dict[Shape, MessageType] = {}
        self._used: dict[Shape, MessageType] = {}
        self._handled: list[Callable[[], Iterable[type[Message]]]] = []
        self._upcasters = Upcasters()
        # Read by decoders that are kept, which compare it with each use; see `revision`.
        self.changes: int = 0
        self._found: dict[tuple[str, int, type[Message]], MessageType | None] = {}
        self._found_at = -1
        # What decodes stored messages, with the serializer that it was asked for; by name, version, format and base.
        self._decoders: dict[
            tuple[str, int, str, type[Message]], tuple[Serializer, MessageType, Callable[[bytes], Any]]
        ] = {}
        self._decoders_at = -1
        self._closed = catalog is not None and catalog.closed
        if catalog is not None:
            self.register(*catalog.classes)
            self.add_upcasters(*catalog.upcasters)

    # --- what it knows ---

    @property
    def closed(self) -> bool:
        """Whether merely imported classes are unknown: only registered, handled and stored classes are known."""
        return self._closed

    @property
    def revision(self) -> int:
        """A number that changes whenever a look-up may have another result than before."""
        return self.changes + class_changes.count

    @property
    def registered(self) -> list[type[Message]]:
        """The classes that were registered, or seen being stored, by name and version."""
        return [each.cls for _, each in sorted((self._used | self._registered).items())]

    def register(self, *classes: type[Message]) -> None:
        """Register message classes, so that they win over imported classes of the same name and version.

        Args:
            classes: Derived from `Command[R]`, `Query[R]`, `StreamQuery[T]` or `Event`. Registering one again changes
                nothing.

        Raises:
            ConfigurationError: For anything else, for two classes with one name and version, and for a class that cannot be
                encoded and decoded, naming the field.
        """
        for cls in classes:
            described = _described(cls)
            if problems := class_problems(cls):
                raise ConfigurationError(problems)
            shape = (described.name, described.version)
            known = self._registered.get(shape) or self._used.get(shape)
            if known is not None and known.cls is not cls:
                raise ConfigurationError(two_classes(*shape, known.cls, cls))
            self._registered[shape] = described
            self.changes += 1

    def use(self, cls: type[Message], /) -> Shape:
        """Note that a message of a class is about to be stored, and return its name and version.

        From then on the class wins over merely imported classes of the same name and version.

        Args:
            cls: The class.

        Raises:
            SerializationError: When another class of the same name and version is registered, handled
                or was stored: the message would be decoded as that class.
        """
        described = message_type(cls)
        shape = (described.name, described.version)
        known = self._used.get(shape)
        if known is None:
            known = self._preferred(shape) or described
            if known.cls is cls:
                self._used[shape] = described
                self.changes += 1
        if known.cls is not cls:
            raise SerializationError(two_classes(*shape, known.cls, cls))
        return shape

    def prefer(self, handled: Callable[[], Iterable[type[Message]]], /) -> None:
        """Have handled classes win over classes that are merely imported.

        Args:
            handled: Returns the classes that have handlers; asked at each first look-up of a name.
        """
        self._handled.append(handled)
        self.changes += 1

    def add_upcasters(self, *upcasters: Upcaster) -> None:
        """Register upcasters.

        Args:
            upcasters: Made with `@upcaster(...)`. Registering one again changes nothing.

        Raises:
            ConfigurationError: When two take the same name and version, or one was not made with `@upcaster(...)`.
        """
        each: Any  # a caller without a type checker may give the bare function
        for each in upcasters:
            if not isinstance(each, Upcaster):
                name = getattr(each, "__qualname__", repr(each))
                msg = f'{name} is not an upcaster. Decorate it with @upcaster("its.name", from_version=...).'
                raise ConfigurationError(msg)
            self._upcasters.add(each)
            self.changes += 1

    def check(self) -> None:
        """Check that every chain of upcasters ends with a known class, and that names are not shared.

        A container does so when it starts.

        Raises:
            ConfigurationError: Listing every gap, every circle, and every handled class that has the name and version
                of a registered one.
        """
        problems = self._upcasters.problems(self.versions)
        problems += self._without_names()
        for handled in self._handled:
            for cls in handled():
                described = message_type(cls)
                known = self._registered.get((described.name, described.version))
                if known is not None and known.cls is not cls:
                    problems.append(two_classes(described.name, described.version, known.cls, cls))
        if problems:
            raise ConfigurationError(problems)

    # --- looking up ---

    def find(self, name: str, version: int, base: type[Message] = Message) -> MessageType | None:
        """Return the type of exactly this name and version, without upcasting; `None` for an unknown one.

        Args:
            name: The wire name.
            version: The version.
            base: The classes to consider: those derived from it, such as `Event`.

        Raises:
            AmbiguousMessageError: When several imported classes have this name and version, and none of them was
                registered, handled or stored.
        """
        revision = self.revision
        if self._found_at != revision:
            self._found.clear()
            self._found_at = revision
        key = (name, version, base)
        try:
            return self._found[key]
        except KeyError:
            found = self._found[key] = self._look_up(name, version, base)
            return found

    def candidates(self, name: str, version: int, base: type[Message] = Message) -> list[MessageType]:
        """Return the types that a name and version may stand for: none for an unknown, several for an ambiguous one.

        Args:
            name: The wire name.
            version: The version.
            base: The classes to consider.
        """
        shape = (name, version)
        for known in (self._preferred(shape), self._used.get(shape)):
            if known is not None and issubclass(known.cls, base):
                return [known]
        if self._closed:
            return []
        return [each for cls in imported_classes.named(name, version, base) if (each := _if_complete(cls))]

    def chain(self, name: str, version: int) -> tuple[list[Upcaster], Shape]:
        """Return the upcasters of a name and version, in order, and the name and version that they lead to.

        Args:
            name: The wire name.
            version: The version.

        Raises:
            SerializationError: When they lead in a circle.
        """
        try:
            return self._upcasters.chain((name, version))
        except ConfigurationError as circle:
            raise SerializationError(str(circle)) from circle

    def former_names(self, described: MessageType) -> list[str]:
        """Return the other wire names whose upcasters lead to a message.

        Args:
            described: The message.
        """
        end = (described.name, described.version)
        found = (name for name, version in self._upcasters.shapes if self.chain(name, version)[1] == end)
        return sorted({name for name in found if name != described.name})

    def newest(
        self, name: str, version: int, base: type[Message] = Message
    ) -> tuple[Shape, MessageType | None]:
        """Return what a message becomes, without decoding it.

        Args:
            name: The wire name it is stored with.
            version: The version it is stored with.
            base: The classes to consider.

        Returns:
            The name and version at the end of its upcasters, and the type of that: `None` for an unknown one, and for
            upcasters that lead in a circle.

        Raises:
            AmbiguousMessageError: As `find`.
        """
        try:
            _, end = self._upcasters.chain((name, version))
        except ConfigurationError:
            return (name, version), None
        return end, self.find(*end, base)

    def versions(self, name: str, base: type[Message] = Message) -> list[int]:
        """Return the known versions of a wire name, ascending.

        Args:
            name: The wire name.
            base: The classes to consider.
        """
        known = (*self._registered.values(), *self._used.values(), *self._handled_types())
        found = {each.version for each in known if each.name == name and issubclass(each.cls, base)}
        if not self._closed:
            found.update(imported_classes.versions(name, base))
        return sorted(found)

    # --- decoding ---

    def decoder(
        self, name: str, version: int, serializer: Serializer, base: type[M]
    ) -> tuple[MessageType, Callable[[bytes], M]]:
        """Return what decodes messages of a name and version to their newest version.

        Keep it as long as `revision` is the same.

        Args:
            name: The wire name.
            version: The version.
            serializer: The format of the bytes.
            base: The classes to consider.

        Raises:
            UnknownMessageError: When no class is known for the newest version.
            AmbiguousMessageError: As `find`.
            SerializationError: When the upcasters lead in a circle.
        """
        steps, end = self.chain(name, version)
        found = self.find(*end, base)
        if found is None:
            raise UnknownMessageError(
                *end, unknown_class(*end, self.versions(end[0], base), closed=self._closed)
            )
        decode = serializer.decoder(found.cls)
        return found, upcasting(serializer, steps, decode) if steps else decode

    def decode(
        self, name: str, version: int, format: str, data: bytes, serializer: Serializer, base: type[M]
    ) -> tuple[MessageType, M]:
        """Decode a stored message and return it with its type, both of the newest version.

        Args:
            name: The wire name it was stored with.
            version: The version it was stored with.
            format: The name of the serializer that made the bytes.
            data: The bytes.
            serializer: The container's serializer; what the built-in ones made is read by them.
            base: The classes to consider.

        Raises:
            UnknownMessageError: When no class is known for the newest version.
            AmbiguousMessageError: As `find`.
            SerializationError: For bytes of an unknown serializer, for bytes that do not fit the class,
                and for an upcaster that fails.
        """
        if self._decoders_at != self.revision:
            self._decoders.clear()
            self._decoders_at = self.revision
        shape = name, version, format, base
        known = self._decoders.get(shape)
        if known is not None and known[0] is serializer:
            return known[1], known[2](data)
        reader = reader_of(format, serializer)
        described, decode = self.decoder(name, version, reader or serializer, base)
        if reader is None:
            text = (
                f"{name} v{version} was stored as {format or 'nothing'}, and this process reads {serializer.name}. "
                "Keep the serializer until everything that was stored with it is processed."
            )
            raise SerializationError(text)
        self._decoders[shape] = serializer, described, decode
        return described, decode(data)

    # --- inside ---

    def _without_names(self) -> list[str]:
        """Return a text for each array_like class that upcasters lead to: its bytes have no field names."""
        found: dict[str, None] = {}
        for shape in self._upcasters.shapes:
            try:
                _, end = self._upcasters.chain(shape)
            except ConfigurationError:
                continue
            for each in self.candidates(*end):
                if each.cls.__struct_config__.array_like:
                    found[no_upcasting(each.cls, each.version)] = None
        return list(found)

    def _preferred(self, shape: Shape) -> MessageType | None:
        known = self._registered.get(shape)
        if known is None:
            known = next((each for each in self._handled_types() if (each.name, each.version) == shape), None)
        return known

    def _handled_types(self) -> Iterable[MessageType]:
        return (message_type(cls) for handled in self._handled for cls in handled())

    def _look_up(self, name: str, version: int, base: type[Message]) -> MessageType | None:
        found = self.candidates(name, version, base)
        if len(found) > 1:
            text = two_classes(name, version, found[0].cls, found[1].cls)
            raise AmbiguousMessageError(name, version, text)
        return found[0] if found else None


def _described(cls: Any) -> MessageType:
    try:
        return message_type(cls)
    except (TypeError, AttributeError) as error:
        msg = f"{shown(cls)} cannot be registered as a message class: {error}"
        raise ConfigurationError(msg) from None


def _if_complete(cls: type[Message]) -> MessageType | None:
    """Return the facts of a class, `None` for a base of requests that leaves the result open."""
    try:
        return message_type(cls)
    except TypeError:
        return None
