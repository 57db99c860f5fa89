"""`add_sagas`: registers sagas in a container."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from catga_core.errors import ConfigurationError
from catga_core.feature import Builder, FeatureHost, Graph, Problem
from catga_core.handlers.hints import caller_locals, snake_case
from catga_core.interfaces.health import Health
from catga_core.interfaces.service_type import ServiceType
from catga_core.messages import Command, Event, MessageKind, message_type
from catga_core.pipeline import Call
from catga_core.sagas.declared.composition import graph_problems
from catga_core.sagas.declared.definition import SagaDefinition
from catga_core.sagas.executor import SagaExecutor
from catga_core.sagas.feature import SagasFeature
from catga_core.sagas.options import SagaOptions
from catga_core.sagas.receiving import SagaSignals
from catga_core.sagas.saga import Saga
from catga_core.sagas.types import SagaType, saga_type


class SagaHost(FeatureHost, Protocol):
    """A container to which sagas are added."""

    def add_handlers(self, *handlers: Callable[..., Any]) -> None:
        """Register handlers."""
        ...

    def add_class_consumer(self, key: str, name: str, cls: type[Any], adapt: Callable[[Any], Call]) -> None:
        """Register a class that a feature instantiates."""
        ...

    async def use_in_scope(self, service: ServiceType[Any], use: Callable[[Any], Awaitable[Any]]) -> Any:
        """Call a function with a service, in a scope that is closed afterwards."""
        ...


_waited_for: WeakKeyDictionary[Any, set[type[Event]]] = WeakKeyDictionary()


def add_sagas(
    container: SagaHost,
    *sagas: type[Saga[Any, Any]] | SagaDefinition[Any, Any],
    started_by: type[Event | Command[Any]] | None = None,
    transaction_id: Callable[[Any], str] | None = None,
    data: Callable[[Any], Any] | None = None,
    options: SagaOptions | None = None,
) -> None:
    """Register sagas that this process starts and resumes.

    A saga whose process died is resumed by any process that has registered it. Constructor parameters are services of the container.

    Args:
        container: The application's container.
        sagas: Their classes or definitions. Several versions of one name may be registered.
        started_by: An event or a command that starts the saga; `sagas` has one element then. A repeated message starts nothing. A
            command returns when the saga is stored; a command whose result type is that of the saga returns when the saga has ended.
        transaction_id: Returns the transaction id of a message that starts the saga.
        data: Returns the data of a message that starts the saga; default: the message itself.
        options: How sagas are run; the last call that gives them wins.

    Raises:
        ConfigurationError: A class is not a saga, cannot be stored, or has the name and version of another one; or `started_by` does
            not fit.
    """
    names = caller_locals()
    types = [
        saga_type(each.saga_class if isinstance(each, SagaDefinition) else each, names) for each in sagas
    ]
    if started_by is not None or transaction_id is not None or data is not None:
        _start_by(container, types, started_by, transaction_id, data)
    for each, given in zip(types, sagas, strict=True):
        definition = given if isinstance(given, SagaDefinition) else None
        container.add_class_consumer(f"saga:{each.name}:{each.version}", each.name, each.cls, _execute_of)
        container.add_feature(_SagaFeature(container, each, definition, options))
        _receive(container, each.topics)
    if not types and options is not None:
        container.add_feature(SagasFeature(options))


class _SagaFeature:
    """Adds one saga to the feature that runs all sagas."""

    def __init__(
        self,
        container: SagaHost,
        type_: SagaType,
        definition: SagaDefinition[Any, Any] | None,
        options: SagaOptions | None,
    ) -> None:
        self._container = container
        self._type = type_
        self._definition = definition
        self._options = options
        self._sagas: SagasFeature | None = None

    @property
    def name(self) -> str:
        """The feature's name, different for each class, so that two classes with one name are detected."""
        cls: Any = self._type.cls
        # Definitions of one name have classes of one name.
        unique = f"{cls.__module__}.{cls.__qualname__}" if self._definition is None else id(self._definition)
        return f"saga:{self._type.name}:{self._type.version}:{unique}"

    def register(self, builder: Builder, /) -> None:
        """Add the saga."""
        cls: Any = self._type.cls

        async def make(use: Callable[[Saga[Any, Any]], Awaitable[None]]) -> None:
            await self._container.use_in_scope(cls, use)

        feature = self._sagas = builder.use(SagasFeature)
        feature.add(self._type, make)
        if self._options is not None:
            feature.configure(self._options)

    def validate(self, graph: Graph, /) -> Iterable[Problem]:
        """Check the commands and child sagas of a definition."""
        return () if self._definition is None else graph_problems(self._definition, graph, self._knows)

    def health(self) -> Mapping[str, Health]:
        """Return no health; the worker reports it."""
        return {}

    def _knows(self, cls: type[Saga[Any, Any]]) -> bool:
        return self._sagas is not None and self._sagas.knows(cls)


def _receive(container: SagaHost, topics: Mapping[type[Event], object]) -> None:
    """Register a handler for each event that sagas wait for, one in a container."""
    known = _waited_for.setdefault(container, set())
    for event in topics:
        if event in known:
            continue
        known.add(event)

        async def receive(message: Any, signals: SagaSignals, *, declared: type[Event] = event) -> None:
            await signals.receive(message, declared)

        container.add_handlers(_handler(receive, "saga_waits", event, SagaSignals, None))


def _start_by(
    container: SagaHost,
    types: Sequence[SagaType],
    message: Any,
    transaction_id: Callable[[Any], str] | None,
    data: Callable[[Any], Any] | None,
) -> None:
    if len(types) != 1 or message is None or transaction_id is None:
        msg = (
            "add_sagas(started_by=...) takes one saga, started_by= and transaction_id=. Call add_sagas once for each saga that a "
            "message starts."
        )
        raise ConfigurationError(msg)
    given: object = message
    if not (isinstance(given, type) and issubclass(given, Event | Command)):
        msg = f"started_by must be an event or a command; got {message!r}. Pass its class."
        raise ConfigurationError(msg)
    started_by: type[Any] = message
    type_, id_of = types[0], transaction_id
    described = message_type(started_by)
    is_command = described.kind is MessageKind.COMMAND
    waits = is_command and described.result not in {None, type(None)}
    if waits and described.result != type_.result:
        msg = (
            f"{started_by.__name__} has the result {described.result!r}, and the saga {type_.name!r} returns {type_.result!r}. "
            "Derive the command from Command[None], or from Command with the saga's result."
        )
        raise ConfigurationError(msg)

    async def start(message: Any, executor: SagaExecutor) -> Any:
        given = message if data is None else data(message)
        if not waits:
            await executor.start(id_of(message), given, type_.cls)
            return None
        result = await executor.execute(id_of(message), given, type_.cls)
        return result.unwrap()

    result = described.result if is_command else None
    container.add_handlers(
        _handler(start, f"start_{snake_case(type_.name)}", started_by, SagaExecutor, result)
    )


def _handler(
    function: Callable[..., Any], name: str, message: type[Any], service: Any, result: Any
) -> Callable[..., Any]:
    """Return a handler function with the name and annotations for its registration."""
    second = "signals" if service is SagaSignals else "executor"

    async def handle(message: Any, **services: Any) -> Any:
        return await function(message, *services.values())

    keyword = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    handle.__name__ = handle.__qualname__ = f"{name}_{snake_case(message.__name__)}"
    handle.__annotations__ = {"message": message, second: service, "return": result}
    handle.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # inspect reads this first
        [
            inspect.Parameter("message", positional, annotation=message),
            inspect.Parameter(second, keyword, annotation=service),
        ],
        return_annotation=result,
    )
    return handle


def _execute_of(saga: Saga[Any, Any]) -> Call:
    # Sagas are used through `use_in_scope`, but the container requires a callable.
    return saga.execute  # type: ignore[return-value]
