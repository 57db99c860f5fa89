"""Runs a message within its own scope: opened before it, closed after it, however it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from catga_core.messages.results import CatgaResult
from catga_core.pipeline.call import Chain, Fail
from catga_core.pipeline.failures import as_result, cause_of
from catga_core.pipeline.supply import Prepare
from catga_core.runtime.cancellation import passes_through
from catga_core.runtime.scope import Scope, active_scope


def in_scope(
    make: Callable[[Scope], Callable[[Any], Awaitable[Any]]],
    prepare: Sequence[Prepare],
    name: str,
    fail: Fail,
    finish: Callable[[Any], CatgaResult[Any]] = as_result,
) -> Chain:
    """Return the call that handles a message in a new scope.

    Args:
        make: Gives what is called with the message, from the scope.
        prepare: Awaited in the new scope first.
        name: The handler's name, for errors.
        fail: Turns what is raised into a result.
        finish: Turns what is returned into one.
    """
    enter, leave = active_scope.set, active_scope.reset

    async def scoped(message: Any) -> CatgaResult[Any]:
        scope = Scope()
        token = enter(scope)
        try:
            try:
                if prepare:
                    for each in prepare:
                        await each(scope)
                result = finish(await make(scope)(message))
            except BaseException as error:
                if scope.closers:
                    await scope.abandon(error)
                raise
            if scope.closers:
                await scope.close(cause_of(result))
        except BaseException as error:  # every outcome but cancellation is a result, a failed commit included
            if passes_through(error):
                raise
            return fail(error, name)
        finally:
            leave(token)
        return result

    return scoped
