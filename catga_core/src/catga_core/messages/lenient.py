"""Read a message that breaks its declared types or constraints as far as it can be read, with every problem.

Decoding stops at the first problem. A sender deserves all of them, and a message that only breaks constraints is validated
where it is handled, with its validators, as in the sender's own process.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from catga_core.codecs.foreign import decode_foreign
from catga_core.descriptions import class_of
from catga_core.messages.serializers import broken_rule

Problem = tuple[str, str]
"""The path of a field, and what is wrong with it."""


def read_leniently(cls: type[Any], raw: Any) -> tuple[Any, list[Problem]]:
    """Return a message of plain data, constraints aside, and every problem of its types.

    Args:
        cls: The message class.
        raw: Plain data, as decoded without a type.
    """
    reader = LenientReader(lambda value, type_: msgspec.convert(value, type_, dec_hook=decode_foreign))
    return reader.read(raw, cls), reader.problems


_UNIONS = {Union, types.UnionType}
_SEVERAL: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
}


class LenientReader:
    """Builds an object from plain data, constraints aside.

    Args:
        convert: Converts plain data to a type, as `msgspec.convert` does.

    Attributes:
        problems: What breaks a declared type; constraints are not among them.
    """

    def __init__(self, convert: Callable[[Any, Any], Any]) -> None:
        self._convert = convert
        self.problems: list[Problem] = []

    def read(self, raw: Any, type_: Any, path: str = "") -> Any:
        """Return the object, as far as it can be built; `problems` says whether it is one.

        Args:
            raw: Plain data, as decoded without a type.
            type_: What it is to be.
            path: Where it is, for problems.
        """
        try:
            return self._convert(raw, type_)
        except msgspec.ValidationError as error:
            return self._parts(raw, _unconstrained(type_), path, error)

    def _parts(self, raw: Any, type_: Any, path: str, error: msgspec.ValidationError) -> Any:
        origin: Any = get_origin(type_) or type_
        arguments = get_args(type_)
        if origin in _UNIONS:
            return self._member(raw, arguments, path, error)
        kind = class_of(raw)
        if isinstance(origin, type):
            if issubclass(origin, msgspec.Struct) and kind is dict:
                return self._struct(raw, type_, origin, path)
            if origin in _SEVERAL and kind is list and _of_one_type(origin, arguments):
                items = [
                    self.read(each, arguments[0], f"{path}[{number}]") for number, each in enumerate(raw)
                ]
                return _SEVERAL[origin](items) if origin in {list, tuple} or not self.problems else items
            if origin is dict and kind is dict and len(arguments) == 2:
                return self._dict(raw, arguments, path)
        try:
            return self._convert(raw, type_)
        except msgspec.ValidationError as unread:
            where, rule = broken_rule(unread)
            self.problems.append((path + where.removeprefix("$"), rule))
            return raw

    def _dict(self, raw: dict[Any, Any], arguments: tuple[Any, ...], path: str) -> dict[Any, Any]:
        keys = LenientReader(self._convert)
        found = {
            keys.read(key, arguments[0]): self.read(value, arguments[1], f"{path}[...]")
            for key, value in raw.items()
        }
        # A key is payload as much as a value: the path is that of the map.
        self.problems += [(path, f"a key of it: {rule}") for _, rule in keys.problems]
        return found

    def _member(self, raw: Any, members: tuple[Any, ...], path: str, error: msgspec.ValidationError) -> Any:
        some = [each for each in members if each is not type(None)]
        if len(some) == 1 and raw is not None:
            return self.read(raw, some[0], path)
        for each in some:
            attempt = LenientReader(self._convert)
            found = attempt.read(raw, each, path)
            if not attempt.problems:
                return found
        where, rule = broken_rule(error)
        self.problems.append((path + where.removeprefix("$"), rule))
        return raw

    def _struct(self, raw: dict[Any, Any], type_: Any, cls: type[Any], path: str) -> Any:
        values: dict[str, Any] = {}
        before = len(self.problems)
        for field in msgspec.structs.fields(type_):
            where = f"{path}.{field.encode_name}" if path else field.encode_name
            if field.encode_name in raw:
                values[field.name] = self.read(raw[field.encode_name], field.type, where)
            elif field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
                self.problems.append((path, f"Object missing required field `{field.encode_name}`"))
        if len(self.problems) > before:
            return raw
        try:
            return cls(**values)
        except (TypeError, ValueError) as refused:
            # Its text may quote anything.
            self.problems.append((path, f"refused by the class itself ({type(refused).__name__})"))
            return raw


def _of_one_type(origin: Any, arguments: tuple[Any, ...]) -> bool:
    return len(arguments) == 1 if origin is not tuple else len(arguments) == 2 and arguments[1] is ...


def _unconstrained(type_: Any) -> Any:
    """Return a type without its own constraints; those of its parts stay."""
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    return type_
