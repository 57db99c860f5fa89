"""`SagaDefinition`: a saga as data."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from catga_core.descriptions import class_of
from catga_core.errors import DeclarationError
from catga_core.messages import Command
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.declared.building import shown_part
from catga_core.sagas.declared.checks import leaves_of, problems_of, result_of
from catga_core.sagas.declared.parts import ChildPart, SagaPart, StepPart, WaitPart
from catga_core.sagas.declared.running import run_parts
from catga_core.sagas.declared.values import SagaValues
from catga_core.sagas.saga import Saga, saga

if TYPE_CHECKING:
    from catga_core.sagas.context import SagaContext

D = TypeVar("D")
R = TypeVar("R")
D2 = TypeVar("D2")


class SagaDefinition(Generic[D, R]):
    """A saga as data: registered and executed as a class that derives from `Saga`, on the same journal.

    ```python
    order = SagaDefinition(
        "order",
        step("charge", Charge, compensate=Refund),
        parallel(step("reserve", Reserve, compensate=Release), step("invoice", Invoice)),
        when(lambda values: values.data.amount > 1000, step("check", CheckCustomer)),
        data=Order,
        returns="charge",
    )
    add_sagas(catga, order)
    ```
    """

    # `data` is the type of the saga's data, `result` any type, including `str | None`, which is not a class.
    @overload
    def __init__(
        self: SagaDefinition[D2, None],
        name: str,
        *parts: SagaPart[D2],
        data: type[D2],
        version: int = 1,
        retry: RetryPolicy | None = None,
        compensation_retry: RetryPolicy | None = None,
        step_timeout: float | None = None,
        timeout: float | None = None,
        max_running: int | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        *parts: SagaPart[D],
        data: type[D],
        returns: Callable[[SagaValues[D]], R],
        result: Any,
        version: int = 1,
        retry: RetryPolicy | None = None,
        compensation_retry: RetryPolicy | None = None,
        step_timeout: float | None = None,
        timeout: float | None = None,
        max_running: int | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: SagaDefinition[D2, Any],
        name: str,
        *parts: SagaPart[D2],
        data: type[D2],
        returns: str,
        result: Any = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        compensation_retry: RetryPolicy | None = None,
        step_timeout: float | None = None,
        timeout: float | None = None,
        max_running: int | None = None,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        *parts: SagaPart[Any],
        data: Any,
        returns: Callable[[SagaValues[Any]], Any] | str | None = None,
        result: Any = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        compensation_retry: RetryPolicy | None = None,
        step_timeout: float | None = None,
        timeout: float | None = None,
        max_running: int | None = None,
    ) -> None:
        """Declare a saga.

        Args:
            name: Its name in journals, the same in every version.
            parts: Its parts, which run in this order.
            data: The type of its data.
            returns: Returns its result, given the values, or the name of the step whose result is the saga's. Default: `None`.
            result: The type of its result; optional if `returns` names a step whose command's class is known.
            version: As in `@saga`.
            retry: As in `@saga`.
            compensation_retry: As in `@saga`.
            step_timeout: As in `@saga`.
            timeout: As in `@saga`.
            max_running: As in `@saga`.

        Raises:
            DeclarationError: The declaration is invalid; the error lists all problems.
        """
        self.name: str = name
        self.parts: Sequence[SagaPart[Any]] = parts
        given: Sequence[object] = parts
        wrong = [each for each in given if not isinstance(each, SagaPart)]
        if wrong or not parts:
            msg = (
                f"SagaDefinition({name!r}) takes parts, such as step(...), parallel(...) and when(...); "
                f"got {', '.join(map(shown_part, wrong)) or 'none'}. Pass one or more."
            )
            raise DeclarationError(msg)
        problems = problems_of(parts, data)
        type_, result_problems = result_of(parts, returns, result)
        if problems or result_problems:
            raise DeclarationError(
                [f"SagaDefinition({name!r}): {each}" for each in (*problems, *result_problems)]
            )
        leaves = list(leaves_of(parts))
        mark = saga(
            name,
            version=version,
            retry=retry,
            compensation_retry=compensation_retry,
            step_timeout=step_timeout,
            timeout=timeout,
            max_running=max_running,
            waits_for={each.event: each.event_key for each in leaves if isinstance(each, WaitPart)},
        )
        self.saga_class: type[Saga[D, R]] = mark(_class_of(name, parts, data, type_, returns))
        sent = (cls for each in leaves if isinstance(each, StepPart) for cls in (each.sends, each.undoes))
        self.commands: Sequence[type[Command[Any]]] = [
            each for each in dict.fromkeys(sent) if each is not None
        ]
        self.children: Sequence[Any] = [each.saga for each in leaves if isinstance(each, ChildPart)]

    def __repr__(self) -> str:
        return f"SagaDefinition({self.name!r})"


def _class_of(name: str, parts: Sequence[SagaPart[Any]], data: Any, result: Any, returns: Any) -> Any:
    """Return the saga class that runs the parts."""

    async def execute(self: Any, data: Any, saga: SagaContext) -> Any:
        del self
        values = SagaValues(data, saga.transaction_id)
        await run_parts(parts, saga, values)
        if returns is None:
            return None
        return values[returns] if isinstance(returns, str) else returns(values)

    words = re.split(r"[^0-9A-Za-z]+", name)
    named = "".join(word[:1].upper() + word[1:] for word in words).removesuffix("Saga") + "Saga"
    members = {"execute": execute, "__module__": __name__, "__doc__": f"The saga {name!r}."}
    base: Any = Saga
    return types.new_class(
        named, (base[data, result],), exec_body=lambda namespace: namespace.update(members)
    )


def saga_of(given: Any) -> tuple[Any, Saga[Any, Any] | None]:
    """Return the class of a saga, and its instance if one was given.

    Args:
        given: A class of sagas, an object of one, or a definition.
    """
    if isinstance(given, type):
        return given, None
    saga: Any = given
    if isinstance(given, SagaDefinition):
        return saga.saga_class, None
    return class_of(saga), saga
