"""Values in a journal: the results of steps, readable without the code that returned them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias, Union
from weakref import WeakValueDictionary

import msgspec

from catga_core.descriptions import class_of
from catga_core.errors import SerializationError
from catga_core.messages.exact import exact_encoder
from catga_core.sagas.types import JOURNAL_SERIALIZER

Shape: TypeAlias = str | tuple[Any, ...]
"""A type in a journal: `module:Class`, or a container's name with the shapes of its items."""

_PLAIN: Final[Mapping[type[Any], str]] = {
    type(None): "",
    bool: "",
    int: "",
    float: "",
    str: "",
    bytes: "",
}
_CONTAINERS: Final[Mapping[str, Any]] = {
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "set": set,
    "frozenset": frozenset,
}
# Classes without an importable path, such as those defined in a function, are found while they are in use.
_used: WeakValueDictionary[str, type[Any]] = WeakValueDictionary()
_encoders: dict[Any, Callable[[Any], bytes]] = {}
# By the container's name and the types in it, not by the shape: a path may be another class by now.
_types: dict[tuple[str, tuple[Any, ...]], Any] = {}
_MOST_TYPES: Final = 10_000


class Value(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value in a journal.

    Args:
        shape: Its type; `None` where the code declares it, empty for a plain value.
        data: Its bytes.
    """

    shape: Shape | None
    data: bytes


_NONE: Final = Value("", JOURNAL_SERIALIZER.encode(None))


def encode_value(value: Any, declared: Any = None) -> Value:
    """Encode a step's result.

    Args:
        value: The value.
        declared: Its type, where the code declares it; `None` takes the classes of the value and of what it holds.

    Raises:
        SerializationError: The value does not survive serialization unchanged.
    """
    if declared is None:
        if value is None:
            return _NONE
        cls = class_of(value)
        if cls in _PLAIN:
            return Value("", _encoder(cls)(value))
        shape = _shape_of(value)
        return Value(shape, _encoder(_type_of(shape))(value))
    return Value(None, _encoder(declared)(value))


def decode_value(value: Value, declared: Any = None) -> Any:
    """Decode a step's result.

    Raises:
        SerializationError: The class of the value is unknown here, or has changed.
    """
    if value is _NONE or value.data == _NONE.data:
        return None
    type_ = declared if value.shape is None else _type_of(_hashable(value.shape))
    return JOURNAL_SERIALIZER.decoder(Any if type_ is None else type_)(value.data)


def path_of(cls: type[Any]) -> str:
    """Return the path by which a journal names a class."""
    path = f"{cls.__module__}:{cls.__qualname__}"
    _used[path] = cls
    return path


def class_at(path: str) -> type[Any] | None:
    """Return the class of a path, `None` if no imported module has it; import nothing."""
    found = _used.get(path)
    if found is not None:
        return found
    module, _, name = path.partition(":")
    given: Any = sys.modules.get(module)
    for part in name.split("."):
        given = getattr(given, part, None)
    return given if isinstance(given, type) else None


def _encoder(type_: Any) -> Callable[[Any], bytes]:
    found = _encoders.get(type_)
    if found is None:
        found = _encoders[type_] = exact_encoder(JOURNAL_SERIALIZER, type_)
    return found


def _shape_of(value: Any) -> Shape:
    cls = class_of(value)
    if cls in _PLAIN:
        return "" if value is None else path_of(cls)
    if cls is list or cls is set or cls is frozenset:
        return (cls.__name__, _joined(value))
    if cls is tuple:
        return ("tuple", *map(_shape_of, value))
    if cls is dict:
        return ("dict", _joined(value), _joined(value.values()))
    return path_of(cls)


def _joined(values: Sequence[Any] | AbstractSet[Any] | Any) -> Shape:
    shapes = dict.fromkeys(map(_shape_of, values))
    if not shapes:
        return path_of(object)
    return next(iter(shapes)) if len(shapes) == 1 else ("union", *shapes)


def _hashable(shape: Any) -> Shape:
    """Return a shape as it was made: msgpack gives the inner tuples back as lists."""
    return shape if isinstance(shape, str) else tuple(map(_hashable, shape))


def _type_of(shape: Shape) -> Any:
    if isinstance(shape, str):
        return _named(shape)
    name, *held = shape
    types = tuple(map(_type_of, held))
    known = _types.get((name, types))
    if known is not None:
        return known
    if name == "union":
        # `Union` takes a tuple, and `|` only two.
        made: Any = Union[types]  # noqa: UP007
    else:
        made = _CONTAINERS[name][types[0] if len(types) == 1 else types]
    if len(_types) >= _MOST_TYPES:
        # Tuples have a type for each length, so that there is no end of them.
        _types.clear()
        _encoders.clear()
    _types[name, types] = made
    return made


def _named(path: str) -> Any:
    if not path:
        return Any
    if path == "builtins:object":
        return Any
    found = class_at(path)
    if found is None:
        text = (
            f"The class {path.replace(':', '.')} of a recorded step's result is not known here. Import its module before the saga is "
            "resumed, or pass returns= to the step."
        )
        raise SerializationError(text)
    return found
