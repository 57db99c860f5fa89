"""Signatures in the reference that griffe does not know by itself: structs, named tuples, and `**options: Unpack[...]`."""

from __future__ import annotations

from typing import Any

import griffe


_MADE_OF_FIELDS = {"msgspec.Struct", "typing.NamedTuple"}


class Signatures(griffe.Extension):
    """Writes out the parameters of structs' constructors and of functions that take a typed dictionary of options."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Look through a package once it is loaded."""
        _visit(pkg, loader)


def _visit(container: griffe.Module | griffe.Class, loader: griffe.GriffeLoader) -> None:
    for member in list(container.members.values()):
        if member.is_alias:
            continue
        if isinstance(member, griffe.Class):
            if "__init__" not in member.members and _is_struct(member):
                member.set_member("__init__", _constructor(member))
            _visit(member, loader)
        elif isinstance(member, griffe.Module):
            _visit(member, loader)
        elif isinstance(member, griffe.Function):
            _unpack(member, loader)


def _is_struct(cls: griffe.Class) -> bool:
    for base in cls.bases:
        plain = base.left if isinstance(base, griffe.ExprSubscript) else base
        if not isinstance(plain, str) and plain.canonical_path in _MADE_OF_FIELDS:
            return True
    return any(_is_struct(parent) for parent in cls.resolved_bases if isinstance(parent, griffe.Class))


def _constructor(cls: griffe.Class) -> griffe.Function:
    keyword_only, either = griffe.ParameterKind.keyword_only, griffe.ParameterKind.positional_or_keyword
    kind = keyword_only if "kw_only" in cls.keywords else either
    fields = [
        griffe.Parameter(field.name, annotation=field.annotation, kind=kind, default=field.value)
        for field in cls.members.values()
        # A ClassVar is an attribute of the class only.
        if isinstance(field, griffe.Attribute)
        and field.annotation is not None
        and "instance-attribute" in field.labels
    ]
    itself = griffe.Parameter("self", kind=either)
    return griffe.Function(
        "__init__", parent=cls, parameters=griffe.Parameters(itself, *fields), returns="None"
    )


def _unpack(function: griffe.Function, loader: griffe.GriffeLoader) -> None:
    for parameter in list(function.parameters):
        annotation = parameter.annotation
        if not (
            isinstance(annotation, griffe.ExprSubscript) and annotation.canonical_path == "typing.Unpack"
        ):
            continue
        if isinstance(annotation.slice, str):
            continue
        options = _found(annotation.slice.canonical_path, loader)
        del function.parameters[parameter.name]
        for field in options.members.values():
            if field.is_attribute:
                function.parameters.add(
                    griffe.Parameter(
                        field.name,
                        annotation=field.annotation,
                        kind=griffe.ParameterKind.keyword_only,
                        default="None",
                    )
                )


def _found(path: str, loader: griffe.GriffeLoader) -> Any:
    try:
        return loader.modules_collection[path]
    except KeyError:
        # It is in a package that no page has asked for yet.
        loader.load(path.partition(".")[0])
        return loader.modules_collection[path]
