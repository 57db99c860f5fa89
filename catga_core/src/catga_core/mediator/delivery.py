"""Delivers one event to every handler of this process, each independent of the others.

`publish` to several handlers is a hot path, so a delivery is one frame: context, count and loop are written out in it.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any, Protocol

import msgspec

from catga_core.interfaces.endpoints import Delivered
from catga_core.mediator.endpoints import DeliverInContext
from catga_core.mediator.failures import Settling
from catga_core.mediator.gate import Gate
from catga_core.mediator.overlap import Entry, Failed, Overlap, cancelled, cancelled_from_within, ended
from catga_core.messages.context import Unread, active_context, begin_event_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.pipeline import Call, Pipeline, as_result, failure_of, must_raise
from catga_core.runtime.cancellation import passes_through
from catga_core.runtime.deliveries import cancelled_by_handler

_NOTHING: CatgaResult[Any] = Success(None)


class Deliver(Protocol):
    """Delivers an event, in a context that is given or in one that continues the publisher's."""

    def __call__(
        self, event: Any, context: MessageContext | None = None
    ) -> Coroutine[Any, Any, Failed | None]:
        """Return which handlers failed, `None` when none did."""
        ...


class Delivery(msgspec.Struct, frozen=True):
    """The handlers of one event type, and what a delivery to them needs.

    Args:
        pipelines: One for each handler.
        settling: Settles failures.
        overlap: Starts the handlers after one that waits.
        gate: Counts deliveries.
        bound: Whether a `MessageContext` is bound.
    """

    pipelines: Sequence[Pipeline]
    settling: Settling
    overlap: Overlap
    gate: Gate
    bound: bool

    def deliver(self) -> Deliver:
        """Link the handlers into one call that returns when all have ended, and gives the failures.

        Handlers run one after the other as long as none of them waits. As soon as one does, those after it run
        concurrently, in tasks of their own. A handler that does not wait costs no task.
        """
        link = _to_one if len(self.pipelines) == 1 else _to_several
        deliver: Deliver = link(self, None, _as_it_is, _never)
        return deliver

    def deliver_with_outcomes(self) -> DeliverInContext:
        """Link the handlers as `deliver` does; the call gives what each handler ended with.

        The task that runs it is the deliverer's: where a handler cancels that, only this handler fails.
        """
        link = _to_one if len(self.pipelines) == 1 else _to_several
        deliver: DeliverInContext = link(self, self.outcomes(None), self.outcomes, cancelled_by_handler)
        return deliver

    def outcomes(self, failed: Failed | None) -> Sequence[Delivered]:
        """Return what each handler ended with."""
        found = dict(failed or ())
        return [
            found.get(number) or Delivered(pipeline.name, _NOTHING)
            for number, pipeline in enumerate(self.pipelines)
        ]


def _as_it_is(failed: Failed) -> Failed:
    return failed


def _never() -> bool:
    """Return that a cancellation is the publisher's: the handlers run in its task."""
    return False


def _to_one(
    delivery: Delivery, handled: Any, failures: Callable[[Failed], Any], by_handler: Callable[[], bool]
) -> Any:
    [pipeline] = delivery.pipelines
    call, name = pipeline.bare or pipeline.chain, pipeline.name
    settle, gate, bound = delivery.settling.settle, delivery.gate, delivery.bound
    peek, enter, leave = active_context.peek, active_context.set, active_context.reset

    async def deliver(event: Any, context: MessageContext | None = None) -> Any:
        gate.waiting += 1
        entered = (context or (Unread() if peek() is None else begin_event_context())) if bound else None
        token = enter(entered)
        try:
            try:
                value = await call(event)
                if value is None:
                    return handled
                result = as_result(value)
            except BaseException as error:  # noqa: BLE001 - a publisher does not see what a handler raises
                result = _failure_of(error, name, entered, by_handler)
            if not isinstance(result, Failure):
                return handled
            return failures([(0, await settle(event, context, name, result))])
        finally:
            gate.waiting -= 1
            leave(token)

    return deliver


def _to_several(
    delivery: Delivery, handled: Any, failures: Callable[[Failed], Any], by_handler: Callable[[], bool]
) -> Any:
    entries: tuple[Entry, ...] = tuple(
        (each.bare or each.chain, each.name, number) for number, each in enumerate(delivery.pipelines)
    )
    settle, bound = delivery.settling.settle, delivery.bound
    overlap, pending = delivery.overlap, delivery.overlap.pending
    peek, enter, leave = active_context.peek, active_context.set, active_context.reset

    async def run(entry: Entry, event: Any, context: MessageContext | None) -> tuple[int, Delivered] | None:
        call, name, number = entry
        result = await _outcome(call, event, name)
        return (number, await settle(event, context, name, result)) if isinstance(result, Failure) else None

    async def deliver(event: Any, context: MessageContext | None = None) -> Any:
        entered = (context or (Unread() if peek() is None else begin_event_context())) if bound else None
        token = enter(entered)
        rest = iter(entries)
        pending[rest] = run, event, context, copy_context()
        if not overlap.scheduled:
            overlap.schedule()
        failed: Failed | None = None
        try:
            for call, name, number in rest:
                try:
                    value = await call(event)
                    if value is None:
                        continue
                    result = as_result(value)
                except BaseException as error:  # noqa: BLE001 - handlers are independent
                    result = _failure_of(error, name, entered, by_handler)
                if isinstance(result, Failure):
                    failed = [*(failed or ()), (number, await settle(event, context, name, result))]
            started = pending.pop(rest)
            if not isinstance(started, tuple):
                failed = [*(failed or ()), *await ended(started, by_handler)]
            return failures(failed) if failed else handled
        except BaseException:
            await cancelled(pending.pop(rest, []))
            raise
        finally:
            leave(token)

    return deliver


async def _outcome(call: Call, event: Any, name: str) -> CatgaResult[Any]:
    try:
        return as_result(await call(event))
    except BaseException as error:  # handlers are independent
        # Run by its own task, which is never closed while it runs, and which `cancelled` alone cancels otherwise.
        if (
            passes_through(error)
            and not isinstance(error, GeneratorExit)
            and not cancelled_from_within(error)
        ):
            raise
        return failure_of(error, name)


def _failure_of(
    error: BaseException, name: str, bound: object, by_handler: Callable[[], bool]
) -> CatgaResult[Any]:
    if isinstance(error, Exception) or not must_raise(error, bound):
        return failure_of(error, name)
    if isinstance(error, CancelledError) and by_handler():
        return failure_of(error, name)
    raise error
