"""`Saga`: the base class of sagas, and the decorator that names one."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from catga_core.errors import DeclarationError
from catga_core.messages import Event
from catga_core.option_checks import check_count, check_name, check_seconds
from catga_core.runtime.retry import RetryPolicy

if TYPE_CHECKING:
    from catga_core.sagas.context import SagaContext

D = TypeVar("D")
R = TypeVar("R")
C = TypeVar("C", bound="type[Saga[Any, Any]]")

_MARK: Final = "__catga_saga__"


class SagaMark(msgspec.Struct, frozen=True):
    """The declaration of `@saga`.

    Args:
        name: The saga's name; `None` for the name of the class.
        version: The version of its code.
        retry: The retry policy of steps; `None` for that of `SagaOptions`.
        compensation_retry: The retry policy of compensations; `None` for that of `SagaOptions`.
        step_timeout: Seconds for one attempt of a step; `None` for no limit.
        timeout: Seconds for the whole saga; `None` for no limit.
        max_running: The most sagas of the name that run concurrently, across all processes; `None` for no limit.
        waits_for: The events that it waits for, each with the function that returns an event's key.
    """

    name: str | None = None
    version: int = 1
    retry: RetryPolicy | None = None
    compensation_retry: RetryPolicy | None = None
    step_timeout: float | None = None
    timeout: float | None = None
    max_running: int | None = None
    waits_for: Mapping[type[Event], Callable[[Any], object]] = {}


class Saga(ABC, Generic[D, R]):
    """A transaction over several services, written as plain code.

    ```python
    class OrderSaga(Saga[OrderData, OrderResult]):
        def __init__(self, payments: Payments) -> None:
            self.payments = payments

        async def execute(self, data: OrderData, saga: SagaContext) -> OrderResult:
            payment = await saga.step(
                "charge", lambda: self.payments.charge(data.card), compensate=self.payments.refund
            )
            order = await saga.send(
                "create", CreateOrder(data.items), compensate=lambda order: CancelOrder(order.id)
            )
            return OrderResult(order.id, payment.id)
    ```

    Constructor parameters are services of the container. `execute` may run several times: steps that are recorded in the journal
    return their recorded results, and the code between steps runs again. It must therefore be deterministic: time, random
    numbers and ids come from the context (`saga.now()`, `saga.random()`, `saga.uuid()`), and every effect is a step.
    """

    @abstractmethod
    async def execute(self, data: D, saga: SagaContext, /) -> R:
        """Run the saga.

        Args:
            data: Its data.
            saga: Runs and records its steps.

        Returns:
            Its result.

        Raises:
            Exception: Any error; the completed steps are compensated in reverse.
        """

    async def compensate(self, data: D, /) -> None:
        """Undo effects that no step compensates.

        Args:
            data: The saga's data. This method runs after the compensations of the steps, and may run several times.
        """


def saga(
    name: str | None = None,
    *,
    version: int = 1,
    retry: RetryPolicy | None = None,
    compensation_retry: RetryPolicy | None = None,
    step_timeout: float | None = None,
    timeout: float | None = None,
    max_running: int | None = None,
    waits_for: Mapping[type[Event], Callable[[Any], object]] | None = None,
) -> Callable[[C], C]:
    """Declare the name, the version and the limits of a saga.

    Args:
        name: The name in journals, the same in every version; default: the name of the class.
        version: The version of its code, >= 1. A saga that began with a version is resumed by a class of that version.
        retry: The retry policy of steps; default: that of `SagaOptions`.
        compensation_retry: The retry policy of compensations; default: that of `SagaOptions`.
        step_timeout: Seconds for one attempt of a step; `None` for no limit.
        timeout: Seconds for the whole saga, from its start; then it fails with `TIMEOUT` and is compensated. `None` for no limit.
        max_running: The most sagas of the name that run concurrently, across all processes that share the store. Others wait for
            their turn, in the order of their start. A saga that waits for a time or an event does not count. `None` for no limit.
        waits_for: The events that `saga.wait_for` waits for, each with a function that returns an event's key.

    Returns:
        The decorator, which returns the class unchanged.

    Raises:
        DeclarationError: An argument is invalid.
    """
    undecorated: object = name
    if isinstance(undecorated, type):
        msg = f"@saga requires parentheses; got the class {undecorated.__name__}. Write @saga() or @saga(name=...)."
        raise DeclarationError(msg)
    try:
        if name is not None:
            check_name("name", name)
        check_count("version", version)
        check_count("max_running", max_running, optional=True)
        check_seconds("step_timeout", step_timeout, optional=True)
        check_seconds("timeout", timeout, optional=True)
        for policy, given in (("retry", retry), ("compensation_retry", compensation_retry)):
            _check_policy(policy, given)
        keys = _checked_keys(waits_for)
    except ValueError as error:
        msg = f"@saga({name!r}): {error}"
        raise DeclarationError(msg) from None
    mark = SagaMark(name, version, retry, compensation_retry, step_timeout, timeout, max_running, keys)

    def declare(cls: C) -> C:
        given: object = cls
        if not (isinstance(given, type) and issubclass(given, Saga)):
            msg = f"@saga decorates a class that derives from Saga[Data, Result]; got {given!r}. Derive from Saga."
            raise DeclarationError(msg)
        setattr(cls, _MARK, mark)
        return cls

    return declare


def _check_policy(name: str, value: object) -> None:
    if value is not None and not isinstance(value, RetryPolicy):
        msg = f"{name} must be a RetryPolicy or None; got {value!r}. Pass RetryPolicy(max_attempts=3)."
        raise ValueError(msg)


def _checked_keys(waits_for: object) -> Mapping[type[Event], Callable[[Any], object]]:
    keys: Any = {} if waits_for is None else waits_for
    if not isinstance(waits_for, Mapping) and waits_for is not None:
        msg = f"waits_for must map event classes to functions; got {waits_for!r}. Pass {{Settled: lambda event: event.order_id}}."
        raise ValueError(msg)
    for event, key_of in keys.items():
        if not callable(key_of) or not _takes_one(key_of):
            msg = (
                f"waits_for[{getattr(event, '__name__', event)}] must be a function of one event that returns its key; got {key_of!r}. "
                "Pass lambda event: event.order_id."
            )
            raise ValueError(msg)
    return dict(keys)


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:
        # A builtin without a signature.
        return True
    return True


def mark_of(cls: type[Saga[Any, Any]]) -> SagaMark:
    """Return the `@saga` declaration of a class itself, not of a base class."""
    found: SagaMark = cls.__dict__.get(_MARK, SagaMark())
    return found


MakeSaga: TypeAlias = Callable[[Callable[[Saga[Any, Any]], Awaitable[None]]], Awaitable[None]]
"""Calls a function with an object of a saga's class, in a scope that is closed afterwards."""
