"""What a class or factory needs, by the annotations of its parameters."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from dependency_injector.providers import Provider

from catga_core.container.di.gives_service import GivesService
from catga_core.container.di.registration import Parameter, SourceKind
from catga_core.container.di.source_kinds import is_partial
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import hints_of, shown


def parameters_of(
    source: Any, kind: SourceKind, names: Mapping[str, Any], skip: int = 0
) -> tuple[Parameter, ...]:
    """Return what a class or factory needs.

    Raises:
        ConfigurationError: For a parameter that tells no type and has no default.
    """
    if kind is SourceKind.INSTANCE:
        return ()
    if kind is SourceKind.PROVIDER:
        return _parameters_of_provider(source)
    function: Any = source
    if kind is SourceKind.CLASS:
        source = get_origin(source) or source
        function = source.__init__
        if function is object.__init__:
            return ()
        skip += 1
    given: dict[str, Any] = {}
    if is_partial(source):
        function, given = source.func, source.keywords
        if isinstance(function, type):
            function = getattr(function, "__init__")  # noqa: B009 - the checker takes it for an instance's
            skip += 1
        skip += len(source.args)
    owner = str(getattr(source, "__qualname__", source)).split("<locals>.")[-1]
    try:
        signature = inspect.signature(function)
        hints = hints_of(function, names)
    except (TypeError, ValueError):
        # Some classes written in C tell nothing of their parameters; those are made with none.
        return ()
    except NameError as cause:
        msg = (
            f"{owner} has an annotation that cannot be resolved ({cause}). "
            "Define the type before the service is registered, or import it outside of TYPE_CHECKING."
        )
        raise ConfigurationError(msg) from None
    return tuple(
        _parameter(owner, parameter, hints.get(parameter.name))
        for parameter in list(signature.parameters.values())[skip:]
        if parameter.name not in given
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    )


def _parameters_of_provider(source: Provider[Any]) -> tuple[Parameter, ...]:
    # dependency-injector gives them; the container has to know, to follow overrides and scopes through them.
    providers: list[Provider[Any]] = [source, *source.traverse()]
    services = dict.fromkeys(each.service for each in providers if isinstance(each, GivesService))
    return tuple(Parameter("", service, optional=False) for service in services)


def _parameter(owner: str, parameter: inspect.Parameter, annotation: Any) -> Parameter:
    optional = parameter.default is not parameter.empty
    service = _asked_for(annotation)
    if service is None and annotation is not None and not optional:
        msg = (
            f"{owner} has the parameter {parameter.name!r} with the ambiguous type {shown(annotation)}. "
            "Annotate it with one service type, or add a default."
        )
        raise ConfigurationError(msg)
    if service is None and not optional:
        msg = (
            f"{owner} has the parameter {parameter.name!r} without an annotation. "
            "Annotate it with a service type, or add a default."
        )
        raise ConfigurationError(msg)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        msg = f"{owner} has the positional-only parameter {parameter.name!r}; arguments are passed by name. Remove the '/'."
        raise ConfigurationError(msg)
    return Parameter(parameter.name, service, optional, parameter.kind is parameter.KEYWORD_ONLY)


def _asked_for(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return members[0] if len(members) == 1 else None
    return annotation
