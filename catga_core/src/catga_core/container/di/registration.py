"""What is known of one registered service: how it is made, how long it lives, what it needs."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from enum import StrEnum
from typing import Any, TypeGuard, Union, get_args, get_origin

import msgspec
from dependency_injector.providers import Provider

from catga_core.container.di.gives_service import GivesService
from catga_core.errors import ConfigurationError
from catga_core.handlers.hints import class_of, hints_of, is_ours, place_of, shown


class Lifetime(StrEnum):
    """How long a service lives."""

    SINGLETON = "singleton"
    """One for the container, made when it starts."""
    SCOPED = "scoped"
    """One for each message, closed when the message is done."""
    TRANSIENT = "transient"
    """A new one wherever it is needed."""


class SourceKind(StrEnum):
    """How a service is made."""

    CLASS = "class"
    FACTORY = "factory"
    ASYNC_FACTORY = "async factory"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"
    INSTANCE = "instance"
    PROVIDER = "provider"

    @property
    def is_async(self) -> bool:
        """Whether making it has to be awaited."""
        return self in {SourceKind.ASYNC_FACTORY, SourceKind.ASYNC_GENERATOR}


class Parameter(msgspec.Struct, frozen=True):
    """One thing a service needs.

    Args:
        name: The parameter's name.
        service: The type that is asked for, `None` where there is no annotation to tell.
        optional: Whether it has a default, so that the container may leave it out.
        keyword: Whether it has to be given by name.
    """

    name: str
    service: Any
    optional: bool
    keyword: bool = False


class Registration(msgspec.Struct, frozen=True, eq=False):
    """One registered service.

    Args:
        service: The type it is asked for by.
        lifetime: How long it lives.
        kind: How it is made.
        source: The class, function, object or provider.
        parameters: What it needs, resolved from the container.
        skip: How many leading parameters somebody else fills in: the message of a function handler.
        auto: Whether the resolver chooses the lifetime: scoped where the service holds anything scoped, else `lifetime`.
        after: Services that are started before this one, although it does not hold them.
        registered_at: The file and line where the application registered it, for what Catga itself makes.
    """

    service: Any
    lifetime: Lifetime
    kind: SourceKind
    source: Any
    parameters: tuple[Parameter, ...]
    skip: int = 0
    auto: bool = False
    after: tuple[Any, ...] = ()
    registered_at: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether a class or function of Catga makes it."""
        return is_ours(getattr(self.source, "__module__", None))

    @property
    def name(self) -> str:
        """The name to show: the implementation's where it has one."""
        if self.service is self.source and self.kind is SourceKind.INSTANCE:
            # A behavior or validator given as an object; what it prints as is its own affair.
            return shown(class_of(self.source))
        if not (self.kind is SourceKind.CLASS or self.skip):
            # A factory's name is its author's affair; what it makes is asked for by the service's.
            return shown(self.service)
        return _own_name(self.source) or shown(self.service)

    @property
    def told(self) -> str:
        """The name of the service, and what makes it with its place: `Session (open_session, app.py:12)`."""
        service, maker = self.name if self.skip else shown(self.service), ""
        if self.kind not in {SourceKind.INSTANCE, SourceKind.PROVIDER} and not self.is_ours:
            maker = _own_name(self.source)
        about = ", ".join(each for each in (maker if maker != service else "", self.place) if each)
        return f"{service} ({about})" if about else service

    @property
    def place(self) -> str:
        """The file and line of what makes it, empty where there is none; for Catga's own, where it was registered."""
        if self.kind in {SourceKind.INSTANCE, SourceKind.PROVIDER}:
            return ""
        return self.registered_at if self.is_ours else place_of(self.source)


def register_source(
    service: Any,
    implementation: Any,
    lifetime: Lifetime,
    names: Mapping[str, Any],
    *,
    instance: bool = False,
    double: bool = False,
) -> Registration:
    """Describe how a service is made, and check that what makes it fits.

    Args:
        service: The type it is asked for by.
        implementation: A class, a factory, an object, a dependency-injector provider, or `None` for the service itself.
        lifetime: How long it lives.
        names: What is in sight where it is registered.
        instance: Whether the implementation is the object, whatever it looks like.
        double: Whether it stands in for the service in a test, and so need not be derived from it.

    Raises:
        ConfigurationError: Naming the service, the cause and the fix.
    """
    source = service if implementation is None else implementation
    kind = SourceKind.INSTANCE if instance else kind_of(source)
    if kind in {SourceKind.GENERATOR, SourceKind.ASYNC_GENERATOR}:
        source = _generator_of(source)
    if implementation is None:
        _check_constructible(service, "Pass its implementation as the second argument.")
    elif kind is SourceKind.CLASS:
        _check_constructible(source, "Implement the abstract methods.")
    if kind is SourceKind.INSTANCE and lifetime is not Lifetime.SINGLETON:
        msg = (
            f"{shown(service)} is registered as {lifetime} with an object; an object is always a singleton. "
            f"Use add_singleton({shown(service)}, ...), or pass a class or a factory."
        )
        raise ConfigurationError(msg)
    if kind.is_async and lifetime is Lifetime.TRANSIENT:
        msg = (
            f"{shown(service)} is transient with an {kind}; a transient service must be created without await. "
            f"Use add_scoped({shown(service)}, ...) or add_singleton."
        )
        raise ConfigurationError(msg)
    if kind in {SourceKind.GENERATOR, SourceKind.ASYNC_GENERATOR} and lifetime is Lifetime.TRANSIENT:
        msg = (
            f"{shown(service)} is transient with a {kind}, which would never be closed. "
            f"Use add_scoped({shown(service)}, ...), which closes it with the message."
        )
        raise ConfigurationError(msg)
    if not double:
        _check_fit(service, source, kind, names)
    return Registration(service, lifetime, kind, source, parameters_of(source, kind, names))


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
    if _is_partial(source):
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


def kind_of(source: Any) -> SourceKind:
    """Return how something that is given for a service makes it; what makes nothing is the object itself."""
    if isinstance(source, Provider):
        return SourceKind.PROVIDER
    if isinstance(source, type) or get_origin(source) is not None:
        return SourceKind.CLASS
    plain: Any = inspect.unwrap(_generator_of(source)) if callable(source) else source
    while _is_partial(plain):
        plain = plain.func
    if not (inspect.isroutine(plain) or _is_partial(source)):
        return SourceKind.INSTANCE
    tests = (
        (inspect.isasyncgenfunction, SourceKind.ASYNC_GENERATOR),
        (inspect.isgeneratorfunction, SourceKind.GENERATOR),
        (inspect.iscoroutinefunction, SourceKind.ASYNC_FACTORY),
    )
    return next((kind for test, kind in tests if test(plain)), SourceKind.FACTORY)


def _generator_of(source: Any) -> Any:
    """Return the generator function that `contextlib` made a context manager of; any other stays as it is."""
    if _is_partial(source):
        function = _generator_of(source.func)
        return (
            source
            if function is source.func
            else functools.partial(function, *source.args, **source.keywords)
        )
    if inspect.ismethod(source):
        function = _generator_of(source.__func__)
        return source if function is source.__func__ else types.MethodType(function, source.__self__)
    made_one = _is_function(source) and source.__code__ in _CONTEXT_MANAGERS
    return source.__wrapped__ if made_one else source


def _is_function(source: Any) -> bool:
    return inspect.isfunction(source)


def _own_name(source: Any) -> str:
    return str(getattr(source, "__qualname__", "")).split("<locals>.")[-1]


def _nothing() -> Generator[None]:
    yield


async def _nothing_async() -> AsyncGenerator[None]:
    yield


# What contextlib's decorators give runs the same code for every function.
_CONTEXT_MANAGERS = {
    each.__code__
    for each in (contextlib.contextmanager(_nothing), contextlib.asynccontextmanager(_nothing_async))
}


def _is_partial(source: Any) -> TypeGuard[functools.partial[Any]]:
    return isinstance(source, functools.partial)


def _check_constructible(service: Any, fix: str) -> None:
    origin = get_origin(service) or service
    if not isinstance(origin, type):
        msg = f"{service!r} is not a class. Register a service by its class."
        raise ConfigurationError(msg)
    abstract: frozenset[str] = getattr(origin, "__abstractmethods__", frozenset())
    if getattr(origin, "_is_protocol", False) or abstract:
        why = f"{', '.join(sorted(abstract))} is abstract" if abstract else "it is a Protocol"
        msg = f"{shown(service)} cannot be instantiated: {why}. {fix}"
        raise ConfigurationError(msg)


def _check_fit(service: Any, source: Any, kind: SourceKind, names: Mapping[str, Any]) -> None:
    wanted = get_origin(service) or service
    if not isinstance(wanted, type):
        return
    found: Any = None
    if kind is SourceKind.CLASS:
        found = get_origin(source) or source
    elif kind is SourceKind.INSTANCE:
        found = class_of(source)
    elif kind is not SourceKind.PROVIDER:
        found = _product_of(source, kind, names)
    # `Any` is a class since Python 3.11, and says nothing.
    if not isinstance(found, type) or found is wanted or found is Any:
        return
    if not getattr(wanted, "_is_protocol", False):
        if not issubclass(found, wanted):
            msg = (
                f"{shown(found)} is registered as {shown(service)} and is not a subclass of it. "
                f"Derive it from {shown(service)}, or register an implementation."
            )
            raise ConfigurationError(msg)
        return
    missing = sorted(member for member in _members(wanted) if not _has(found, member))
    if missing:
        msg = (
            f"{shown(found)} is registered as {shown(service)}, but it has no {', '.join(missing)}. "
            f"Add the missing members, or register an implementation of {shown(service)}."
        )
        raise ConfigurationError(msg)


def _members(protocol: type[Any]) -> set[str]:
    members: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False):
            members.update(name for name in base.__dict__ if not name.startswith("_") and name != "_abc_impl")
    return members


def _has(cls: type[Any], member: str) -> bool:
    if hasattr(cls, member):
        return True
    return any(
        member in getattr(base, "__annotations__", {}) for base in cls.__mro__
    ) or "__getattr__" in dir(cls)


def _product_of(source: Callable[..., Any], kind: SourceKind, names: Mapping[str, Any]) -> Any:
    plain: Any = source
    if _is_partial(plain):
        plain = plain.func
    try:
        returned = hints_of(plain, names).get("return")
    except (NameError, TypeError):
        return None
    if kind in {SourceKind.GENERATOR, SourceKind.ASYNC_GENERATOR}:
        returned = (get_args(returned) or (None,))[0]
    return get_origin(returned) or returned


def how_registered(service: Any) -> str:
    """Return how to register a service, as a sentence without its full stop.

    Args:
        service: The type it is asked for by.
    """
    told: str | None = getattr(get_origin(service) or service, "__catga_registered_by__", None)
    if told is None:
        return f"Register one with add_singleton({shown(service)}, ...)"
    return told.format(", ".join(map(shown, get_args(service))) or "...")
