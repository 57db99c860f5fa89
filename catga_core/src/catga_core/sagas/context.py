"""`SagaContext`: what the code of a saga runs and records its steps with."""

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
    """Runs and records what a saga does; `execute` is given one.

    Each method is an operation that is recorded in the journal. After a crash, another process runs the code again: an operation
    that is recorded returns, or raises, what it did before, without doing anything.
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
        """The saga's identity."""
        return self._execution.id

    @property
    def replaying(self) -> bool:
        """Whether the code follows its journal after a crash; for log lines that must not appear twice."""
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

        While it runs, `current_context().message_id` is the step's own id, the same in every attempt and every process: a receiver that
        deduplicates by it does the work once. Its outcome is unknown when its process dies in it; it is then run again.

        Args:
            name: Its name, the same in every version of the code.
            run: Does it; called without arguments, may be asynchronous.
            compensate: Undoes it, given its result; may be asynchronous, and may return a command to send. It runs when the saga fails
                or is cancelled later, in the reverse order of the steps, and may run several times.
            retry: When it is tried again: after any exception but a `CatgaError` that is not retryable. `HANDLER_FAILED`,
                `INTERNAL_ERROR` and `HANDLER_NOT_FOUND` are tried again, because a service may be restarting. Default: the saga's.
            timeout: Seconds for one attempt. After it, whether the step has had its effect is unknown. Default: the saga's.
            returns: The type of its result, for one that a journal cannot name by itself. Default: the class of the result.
            in_unit_of_work: Whether it runs in a unit of work of the container's storage that also records its result: what it writes
                there is written exactly once.

        Returns:
            Its result.

        Raises:
            Exception: What its last attempt raised. `SerializationError` for a result that would not be read back as it is.
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

        Its message id is the step's, so that an idempotent handler handles it once.

        Args:
            name: The step's name.
            command: The command.
            compensate: As in `step`; it mostly returns a command.
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
        """Publish an event as a step; it keeps its message id when it is published again.

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
        """Run another saga as a step, under an id of its own; it may run in another process.

        Args:
            name: The step's name.
            saga: Its class or definition, registered with `add_sagas`.
            data: What it begins with.
            compensate: Whether its steps are compensated when this saga fails later.

        Returns:
            Its result.

        Raises:
            Exception: The error that it failed with; its own steps are compensated then.
        """
        value: T = await self._steps.child(name, saga_of(saga)[0], data, compensate=compensate)
        return value

    async def on_compensate(self, name: str, compensate: Callable[[], object]) -> None:
        """Register a compensation for an effect that is not a step; it is recorded before this returns.

        Args:
            name: Its name, the same in every version of the code.
            compensate: Undoes the effect, whether it has happened or not.
        """
        await self._steps.on_compensate(name, compensate)

    async def commit_point(self) -> None:
        """Pass the point of no return: from here on, steps are retried until they succeed, and nothing is compensated.

        A cancellation and the saga's timeout have no effect any more. An error that is not a step's parks the saga.
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
        """Run branches at the same time, each a step or a coroutine with steps.

        Args:
            branches: The branches, in an order that is the same each time the code runs.
            on_failure: What happens to the others when one fails. `wait` lets the steps that run end, so that they are compensated,
                and begins no further ones. `cancel` cancels them: whether they have had their effects is unknown.

        Returns:
            Their results, in their order.

        Raises:
            Exception: The error of the first branch, in their order, that failed.
        """
        if on_failure not in {"wait", "cancel"}:
            _close(branches)
            msg = f"on_failure must be 'wait' or 'cancel'; got {on_failure!r}."
            raise ValueError(msg)
        return tuple(await gather(self._execution, branches, cancel=on_failure == "cancel"))

    # --- waiting ---

    async def sleep(self, seconds: float | timedelta | None = None, *, until: datetime | None = None) -> None:
        """Wait, for seconds or months: a long wait keeps no memory and outlives every process.

        Args:
            seconds: How long, in seconds or as a `timedelta`.
            until: The time at which it ends, timezone-aware, in place of `seconds`.
        """
        await slept(self._execution, seconds, until)

    async def wait_for(self, event: type[E], *, key: object, timeout: float | timedelta | None = None) -> E:
        """Wait for an event, for seconds or months, as `sleep`; one that arrived before counts.

        Each event is received once by a saga, in the order in which they arrived, and by every saga that waits for it.

        Args:
            event: Its class, declared in `@saga(waits_for=...)`.
            key: The event's key, as the declared function returns it.
            timeout: Seconds, or a `timedelta`; `None` for no limit.

        Returns:
            The event.

        Raises:
            SagaTimeoutError: It did not arrive in time.
        """
        if event not in self._type.topics:
            name = event.__name__
            msg = f"The saga {self._type.name!r} does not declare that it waits for {name}. Add @saga(waits_for={{{name}: ...}})."
            raise ConfigurationError(msg)
        data = await received(self._execution, topic_of(event, key), timeout)
        if data is None:
            text = f"{event.__name__} with the key {key!r} did not arrive in time."
            raise SagaTimeoutError(text)
        return decode_event(self._services.registry, event, data)

    # --- what differs each time ---

    def now(self) -> datetime:
        """Return the time, timezone-aware; the same each time the code runs."""
        return datetime.fromtimestamp(time_of(self._execution), UTC)

    def random(self) -> float:
        """Return a random number from 0 to 1, exclusive; the same each time the code runs."""
        return random.Random(self._seed("random")).random()  # noqa: S311 - reproducible on purpose

    def uuid(self) -> UUID:
        """Return a new id; the same each time the code runs."""
        return UUID(int=random.Random(self._seed("uuid")).getrandbits(128), version=4)  # noqa: S311 - unique by its seed

    # --- other ---

    def progress(self, fraction: float, text: str = "") -> None:
        """Report how far the saga has come, for `status`.

        Args:
            fraction: From 0 to 1.
            text: In words.
        """
        check_seconds("fraction", fraction, least=0, most=1)
        if not self._execution.replaying:
            self._execution.journal.record(Progress(float(fraction), text))

    def patched(self, name: str) -> bool:
        """Return whether this run has a change of the code: `True` for sagas that come here for the first time after it.

        ```python
        if saga.patched("fraud-check"):
            await saga.step("check", ...)
        ```

        Args:
            name: The name of the change.
        """
        return self._steps.patched(name)

    async def continue_as_new(self, data: Any) -> NoReturn:
        """Begin again with other data and an empty journal, under the same transaction id; for sagas without an end.

        The steps so far are not compensated any more.

        Args:
            data: What it begins with.
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
