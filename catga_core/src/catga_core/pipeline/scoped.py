"""Runs a message within a scope of its own: opened before it, closed after it, however it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from catga_core.messages.results import CatgaResult
from catga_core.pipeline.failures import cause_of
from catga_core.pipeline.supply import Prepare
from catga_core.pipeline.way import Chain, Fail, Way
from catga_core.runtime.scope import Scope, active_scope


def in_scope(
    make: Callable[[Scope], Callable[[Any], Awaitable[Any]]],
    wrap: Callable[[Any], CatgaResult[Any]],
    prepare: Sequence[Prepare],
    name: str,
    fail: Fail,
) -> Way:
    """Return the call that handles a message in a new scope.

    Counting, scope and guard are one coroutine: each of its own would cost a tenth of a scoped dispatch.

    Parameters:
        make: gives what is called with the message, from the scope.
        wrap: makes what that returns into a result.
        prepare: awaited in the new scope first.
        name: the handler's name, for errors.
        fail: makes what is raised into a result.
    """
    enter, leave = active_scope.set, active_scope.reset
    running = 0
    moved: Chain | None = None

    async def scoped(message: Any) -> CatgaResult[Any]:
        nonlocal running
        if moved is not None:
            return await moved(message)
        scope = Scope()
        token = enter(scope)
        running += 1
        try:
            try:
                if prepare:
                    for each in prepare:
                        await each(scope)
                result = wrap(await make(scope)(message))
            except BaseException as error:
                if scope.closers:
                    await scope.abandon(error)
                raise
            if scope.closers:
                await scope.close(cause_of(result))
        except Exception as error:  # noqa: BLE001 - every outcome but cancellation is a result, a failed commit included
            return fail(error, name)
        finally:
            leave(token)
            running -= 1
        return result

    def lay(target: Chain) -> None:
        nonlocal moved
        moved = target

    return Way(scoped, lay, lambda: running)
