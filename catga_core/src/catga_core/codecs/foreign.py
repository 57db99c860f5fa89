"""Types that msgspec does not know: registered ones, and the models of pydantic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as shape

from catga_core.descriptions import class_of, shown
from catga_core.errors import ConfigurationError

T = TypeVar("T")


class ForeignType(msgspec.Struct, frozen=True):
    """How the values of one foreign class are encoded and decoded.

    Args:
        encode: Makes a value of types that Catga knows: a text, a number, a list, a dict.
        decode: Makes the value again.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_registered: dict[type[Any], ForeignType] = {}


def register_type(cls: type[T], *, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """Register how values of a class are encoded and decoded, for every serializer of this process.

    A value is stored or sent only if `decode(encode(value)) == value`, so the class needs an `__eq__`.

    Args:
        cls: A class that Catga cannot encode by itself. Its subclasses are other classes.
        encode: Returns a value of built-in types: a `str`, a number, a list, a dict.
        decode: Returns the value again, from what the format has made of that: a `Decimal`, say, comes back as text.
            Raise `ValueError` for a value that does not fit.

    Raises:
        ConfigurationError: When `cls` is not a class, a function cannot be called, or Catga encodes the class itself.
    """
    given: Any = cls
    if not isinstance(given, type):
        msg = f"register_type() takes a class; got {given!r}. Pass the class itself."
        raise ConfigurationError(msg)
    functions: dict[str, Any] = {"encode": encode, "decode": decode}
    for name, function in functions.items():
        if not callable(function):
            msg = (
                f"{name} of {shown(cls)} must be a function; got {function!r}. Pass a function of one value."
            )
            raise ConfigurationError(msg)
    if not isinstance(shape.type_info(given), shape.CustomType):
        msg = f"{shown(cls)} is encoded by Catga itself, so encode and decode would not be called. Remove register_type()."
        raise ConfigurationError(msg)
    _registered[cls] = ForeignType(encode, decode)


def foreign_type(cls: Any) -> ForeignType | None:
    """Return how a foreign class is encoded and decoded, `None` for an unknown one."""
    known = _registered.get(cls)
    if known is None and is_pydantic(cls):
        known = _registered[cls] = ForeignType(_dumped, _validating(cls))
    return known


def is_pydantic(cls: Any) -> bool:
    """Tell whether a class is a pydantic model; pydantic is not imported for that."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def encode_foreign(value: Any) -> Any:
    """Encode a value that msgspec does not know; its `enc_hook`.

    Raises:
        TypeError: When its class is not registered.
    """
    cls: Any = class_of(value)
    found = foreign_type(cls)
    if found is None:
        msg = f"Encoding objects of type {cls.__name__} is unsupported"
        raise TypeError(msg)
    return found.encode(value)


def decode_foreign(cls: type[Any], value: Any) -> Any:
    """Decode a value of a class that msgspec does not know; its `dec_hook`.

    Raises:
        TypeError: When the class is not registered.
    """
    if cls is object:
        return value
    found = foreign_type(cls)
    if found is None:
        msg = f"Expected `{shown(cls)}`, which is not registered"
        raise TypeError(msg)
    made = found.decode(value)
    if type(made) is not cls:
        msg = f"the decoder of {shown(cls)} returned another type"
        raise TypeError(msg)
    return made


def _dumped(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, round_trip=True)


def _validating(cls: Any) -> Callable[[Any], Any]:
    def validated(value: Any) -> Any:
        # As JSON: a strict model takes a text for a date there, and nowhere else.
        return cls.model_validate_json(msgspec.json.encode(value))

    return validated
