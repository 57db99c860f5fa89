"""`SagaContext`: runs and records the operations of a saga's code."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn, TypeVar, overload
from uuid import UUID

from catga_core.errors import ConfigurationError, SagaTimeoutError
from catga_core.messages import Command, Event, message_type
from catga_core.messages.context import current_context
from catga_core.option_checks import check_seconds
from catga_core.runtime.retry import RetryPolicy
from catga_core.sagas.declared.definition import SagaDefinition, saga_of
from catga_core.sagas.entries import Progress
from catga_core.sagas.execution import Execution
from catga_core.sagas.gathering import gather
from catga_core.sagas.saga import Saga
from catga_core.sagas.settings import Services
from catga_core.sagas.signals import decode_event
from catga_core.sagas.steps import Asked, Steps
from catga_core.sagas.stops import Restarted, SagaStop
from catga_core.sagas.types import SagaType, topic_of
from catga_core.sagas.waits import received, slept, time_of

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=Event)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
F = TypeVar("F")


class SagaContext:
    """Runs and records the operations of a saga; `execute` receives one.

    Each method is an operation that is recorded in the journal. After a crash, another process runs the code again: a recorded
    operation returns its recorded result, or raises its recorded error, without running.
    """

    def __init__(
        self,
        execution: Execution,
        type_: SagaType,
        services: Services,
        steps: Steps,
    ) -> None:
        self._execution = execution
        self._type = type_
        self._services = services
        self._steps = steps

    @property
    def transaction_id(self) -> str:
        """The saga's transaction id."""
        return self._execution.id

    @property
    def replaying(self) -> bool:
        """Whether the code is replaying its journal after a crash; for log lines that must not appear twice."""
        return self._execution.replaying

    # --- steps ---

    @overload
    async def step(
        self,
        name: str,
        run: Callable[[], Awaitable[T]],
        *,
        compensate: Callable[[T], object] | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        returns: Any = None,
        in_unit_of_work: bool = False,
    ) -> T: ...

    @overload
    async def step(
        self,
        name: str,
        run: Callable[[], T],
        *,
        compensate: Callable[[T], object] | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        returns: Any = None,
        in_unit_of_work: bool = False,
    ) -> T: ...

    async def step(
        self,
        name: str,
        run: Callable[[], Any],
        *,
        compensate: Callable[[Any], object] | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        returns: Any = None,
        in_unit_of_work: bool = False,
    ) -> Any:
        """Run a step once, and record its result.

        While it runs, `current_context().message_id` is the step's id, the same in every attempt and every process: a receiver that
        deduplicates by it does the work once. If the process dies during the step, its outcome is unknown and it runs again.

        Args:
            name: Its name, the same in every version of the code.
            run: The work; called without arguments, may be asynchronous.
            compensate: Receives the step's result; may be asynchronous, and may return a command to send. It runs when the saga fails
                or is cancelled later, in the reverse order of the steps, and may run several times.
            retry: The retry policy. Any exception is retried except a `CatgaError` that is not retryable; `HANDLER_FAILED`,
                `INTERNAL_ERROR` and `HANDLER_NOT_FOUND` are retried, because a service may be restarting. Default: the saga's.
            timeout: Seconds for one attempt. The outcome of an attempt that times out is unknown. Default: the saga's.
            returns: The type of the result, if its class alone does not describe it, such as `list[Item]`. Default: the result's class.
            in_unit_of_work: Whether it runs in a unit of work of the container's storage that also records its result. Writes to
                that storage take effect exactly once.

        Returns:
            Its result.

        Raises:
            Exception: The error of its last attempt. `SerializationError` if the result does not survive serialization unchanged.
        """
        ask = Asked(name, run, compensate, retry, timeout, returns, in_unit_of_work)
        return await self._steps.step(ask)

    async def send(
        self,
        name: str,
        command: Command[T],
        *,
        compensate: Callable[[T], object] | None = None,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
    ) -> T:
        """Send a command as a step, here or to another process.

        The command's message id is the step's, so an idempotent handler handles it once.

        Args:
            name: The step's name.
            command: The command.
            compensate: As in `step`; it usually returns a command.
            retry: As in `step`.
            timeout: As in `step`.

        Returns:
            The handler's result.

        Raises:
            CatgaError: The error of the failed result.
        """

        async def run() -> Any:
            result = await self._services.mediator.send(command, message_id=current_context().message_id)
            return result.unwrap()

        returns = message_type(type(command)).result
        value: T = await self._steps.step(Asked(name, run, compensate, retry, timeout, returns))
        return value

    async def publish(self, event: Event, *, name: str | None = None) -> None:
        """Publish an event as a step; its message id is the same in every attempt.

        Args:
            event: The event.
            name: The step's name; default: the name of the event's class.
        """

        async def run() -> None:
            await self._services.mediator.publish(event, message_id=current_context().message_id)

        await self._steps.step(Asked(name or f"publish {type(event).__name__}", run))

    async def saga(
        self,
        name: str,
        saga: type[Saga[D, T]] | SagaDefinition[D, T],
        data: D,
        *,
        compensate: bool = True,
    ) -> T:
        """Run a child saga as a step, with its own transaction id.

        Args:
            name: The step's name.
            saga: Its class or definition, registered with `add_sagas`.
            data: Its data.
            compensate: Whether its steps are compensated when this saga fails later.

        Returns:
            Its result.

        Raises:
            Exception: The error of the child saga, whose steps are compensated by then.
        """
        value: T = await self._steps.child(name, saga_of(saga)[0], data, compensate=compensate)
        return value

    async def on_compensate(self, name: str, compensate: Callable[[], object]) -> None:
        """Register a compensation for an effect that is not a step.

        Args:
            name: Its name, the same in every version of the code.
            compensate: Undoes the effect, whether or not it has happened. The registration is recorded when this returns.
        """
        await self._steps.on_compensate(name, compensate)

    async def commit_point(self) -> None:
        """Pass the commit point: later steps are retried until they succeed.

        Nothing is compensated from here on. Cancellation and the saga's timeout no longer have an effect. An error outside of a step
        parks the saga.
        """
        await self._steps.commit_point()

    # --- several at once ---

    @overload
    async def gather(
        self, first: Awaitable[A], second: Awaitable[B], /, *, on_failure: Literal["wait", "cancel"] = "wait"
    ) -> tuple[A, B]: ...

    @overload
    async def gather(
        self,
        first: Awaitable[A],
        second: Awaitable[B],
        third: Awaitable[C],
        /,
        *,
        on_failure: Literal["wait", "cancel"] = "wait",
    ) -> tuple[A, B, C]: ...

    @overload
    async def gather(
        self,
        first: Awaitable[A],
        second: Awaitable[B],
        third: Awaitable[C],
        fourth: Awaitable[F],
        /,
        *,
        on_failure: Literal["wait", "cancel"] = "wait",
    ) -> tuple[A, B, C, F]: ...

    @overload
    async def gather(
        self, *branches: Awaitable[T], on_failure: Literal["wait", "cancel"] = "wait"
    ) -> tuple[T, ...]: ...

    async def gather(self, *branches: Awaitable[Any], on_failure: str = "wait") -> tuple[Any, ...]:
        """Run branches concurrently, each a step or a coroutine with steps.

        Args:
            branches: The branches, in the same order on every run of the code.
            on_failure: The policy for the other branches when one fails. `wait` lets running steps end, so that they are compensated,
                and starts no further steps. `cancel` cancels running steps; their outcome is unknown.

        Returns:
            Their results, in their order.

        Raises:
            Exception: The error of the first failed branch, in their order.
        """
        if on_failure not in {"wait", "cancel"}:
            _close(branches)
            msg = f"on_failure must be 'wait' or 'cancel'; got {on_failure!r}. Pass one of these."
            raise ValueError(msg)
        return tuple(await gather(self._execution, branches, cancel=on_failure == "cancel"))

    # --- waiting ---

    async def sleep(self, seconds: float | timedelta | None = None, *, until: datetime | None = None) -> None:
        """Sleep for a duration or until a time; survives process restarts.

        Args:
            seconds: The duration, in seconds or as a `timedelta`. A long one keeps nothing in memory.
            until: The end, timezone-aware, instead of `seconds`.
        """
        await slept(self._execution, seconds, until)

    async def wait_for(self, event: type[E], *, key: object, timeout: float | timedelta | None = None) -> E:
        """Wait for an event; survives process restarts.

        An event that arrived before the wait counts. A saga receives each event once, in the order of arrival; every saga that waits
        for an event receives it.

        Args:
            event: Its class, declared in `@saga(waits_for=...)`.
            key: The event's key, as the declared function returns it.
            timeout: The longest wait, in seconds or as a `timedelta`; `None` for no limit.

        Returns:
            The event.

        Raises:
            SagaTimeoutError: The event did not arrive in time.
        """
        if event not in self._type.topics:
            name = event.__name__
            msg = f"The saga {self._type.name!r} does not declare a wait for {name}. Add @saga(waits_for={{{name}: ...}})."
            raise ConfigurationError(msg)
        data = await received(self._execution, topic_of(event, key), timeout)
        if data is None:
            text = f"{event.__name__} with the key {key!r} did not arrive in time."
            raise SagaTimeoutError(text)
        return decode_event(self._services.registry, event, data)

    # --- values that differ on each run ---

    def now(self) -> datetime:
        """Return the current time, timezone-aware; recorded in the journal."""
        return datetime.fromtimestamp(time_of(self._execution), UTC)

    def random(self) -> float:
        """Return a random number in [0, 1), the same on every run of the code."""
        return random.Random(self._seed("random")).random()  # noqa: S311 - reproducible on purpose

    def uuid(self) -> UUID:
        """Return a new id, the same on every run of the code."""
        return UUID(int=random.Random(self._seed("uuid")).getrandbits(128), version=4)  # noqa: S311 - unique by its seed

    # --- other ---

    def progress(self, fraction: float, text: str = "") -> None:
        """Report progress for `status`.

        Args:
            fraction: From 0 to 1.
            text: A description.
        """
        check_seconds("fraction", fraction, least=0, most=1)
        if not self._execution.replaying:
            self._execution.journal.record(Progress(float(fraction), text))

    def patched(self, name: str) -> bool:
        """Return whether this saga runs a code change.

        `True` for a saga that reaches this call for the first time with the changed code.

        ```python
        if saga.patched("fraud-check"):
            await saga.step("check", ...)
        ```

        Args:
            name: The name of the change.
        """
        return self._steps.patched(name)

    async def continue_as_new(self, data: Any) -> NoReturn:
        """Restart with new data and an empty journal under the same id.

        Use it in sagas without an end. Earlier steps are no longer compensated.

        Args:
            data: The new data.
        """
        execution, branch = self._execution, self._execution.here()
        await execution.go_on(branch)
        await execution.journal.durable()
        execution.stop(Restarted(self._type.encode_data(data)))
        raise SagaStop

    def _seed(self, kind: str) -> str:
        return f"{self.transaction_id}/{self._execution.here().key(kind)}"


def _close(works: tuple[Awaitable[Any], ...]) -> None:
    for each in works:
        if isinstance(each, Coroutine):
            each.close()
