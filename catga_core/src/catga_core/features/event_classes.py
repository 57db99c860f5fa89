"""Finds the class of a stored event by its wire name and version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from catga_core.errors import SerializationError
from catga_core.messages import Event, MessageType, message_type
from catga_core.messages.serializer import Serializer


class EventClasses:
    """The events that this process knows: those it handles, and every other class derived from `Event`.

    Parameters:
        handled: gives the classes that have handlers here; of two classes of one name these come first.
    """

    def __init__(self, handled: Callable[[], Iterable[type[Any]]]) -> None:
        self._handled = handled
        self._known: dict[tuple[str, int], MessageType] = {}

    def find(self, name: str, version: int) -> MessageType | None:
        """Return an event's type, `None` where no class of this process is called so.

        Parameters:
            name: its wire name.
            version: its version.

        Raises:
            CatgaError: `SERIALIZATION_FAILED` where several are, and none of them is handled here or was published.
        """
        known = self._known.get((name, version))
        if known is None:
            known = next(_called(name, version, self._handled()), None) or self._only(name, version)
            if known is not None:
                self._known[name, version] = known
        return known

    def learn(self, described: MessageType) -> None:
        """Prefer a class that was seen in use over others of its name."""
        self._known[described.name, described.version] = described

    def decode(
        self, name: str, version: int, format: str, data: bytes, serializer: Serializer
    ) -> tuple[MessageType, Event]:
        """Return an event of its bytes.

        Parameters:
            name: its wire name.
            version: its version.
            format: the name of the serializer that made the bytes.
            data: the bytes.
            serializer: the container's.

        Raises:
            UnknownEvent: when no class of this process is called so.
            CatgaError: `SERIALIZATION_FAILED` for bytes of another serializer, or that do not fit.
        """
        described = self.find(name, version)
        if described is None:
            raise UnknownEvent(name, version)
        if format != serializer.name:
            text = (
                f"{described} was stored as {format or 'nothing'}, and this process reads {serializer.name}: "
                "keep the serializer until what was stored with it is done"
            )
            raise SerializationError(text)
        return described, serializer.decoder(described.cls)(data)

    def _only(self, name: str, version: int) -> MessageType | None:
        found = list(_called(name, version, _derived(Event)))
        if len(found) > 1:
            places = " and ".join(f"{each.cls.__module__}.{each.cls.__qualname__}" for each in found[:2])
            text = (
                f"{places} are both called {name} v{version} on the wire, so that what was stored could be either: "
                "give one of them another name with @message(name=...)"
            )
            # Not final: what is stored waits until one of them is renamed.
            raise SerializationError(text, retryable=True)
        return found[0] if found else None


class UnknownEvent(SerializationError):  # noqa: N818 - an error of the program that lacks the class, named like the others' causes
    """An event's class is not in this process; another, or the next version of this one, may have it.

    Parameters:
        name: its wire name.
        version: its version.
    """

    def __init__(self, name: str, version: int) -> None:
        super().__init__(
            f"no event class of this process is called {name} v{version}: import the module that defines it",
            retryable=True,
        )


def _called(name: str, version: int, classes: Iterable[type[Any]]) -> Iterator[MessageType]:
    for cls in classes:
        described = message_type(cls)
        if (described.name, described.version) == (name, version):
            yield described


def _derived(base: type[Any]) -> Iterator[type[Any]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _derived(cls)
