"""One thing to do on a connection, asked for in the loop and done in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from catga_core.errors import CatgaError

Many: TypeAlias = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
"""Does what several callers ask at once; gives for each its result, or the `CatgaError` it is refused with."""


class Job(msgspec.Struct, eq=False):
    """What one caller waits for.

    A function may be run again after a rollback, so it keeps nothing but its result. It raises a `CatgaError` only
    before its first write; anything else it raises undoes what it wrote.

    Args:
        future: What the caller awaits.
        function: Called with a connection and the arguments.
        arguments: What the function is given.
        topics: Whom to wake once it is committed.
        many: Instead of the function, for requests that are cheaper together; the arguments are the request.
        result: What the function returned.
        error: What it raised.
        flush: Whether its commit is flushed to the disk before it is answered, where the file's commits are.
        ticket: Set where the loop may give the job up for its caller; the first to pop it owns the job.
    """

    future: asyncio.Future[Any]
    function: Callable[..., Any] | None
    arguments: Any
    topics: int = 0
    many: Many | None = None
    result: Any = None
    error: BaseException | None = None
    flush: bool = True
    ticket: list[None] | None = None


def claimed(ticket: list[None]) -> bool:
    """Take a ticket; `False` when another thread was first. Popping a list is one step for all threads."""
    try:
        ticket.pop()
    except IndexError:
        return False
    return True


def perform(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    """Do jobs in their order, those of one kind together; each has its result or its refusal then.

    Raises:
        BaseException: An error that is not a refusal; the outcome of every job is unknown then.
    """
    index, count = 0, len(jobs)
    while index < count:
        job = jobs[index]
        index += 1
        if job.many is None:
            assert job.function is not None  # noqa: RUF100, S101
            try:
                job.result = job.function(connection, *job.arguments)
            except CatgaError as error:
                job.error = error
            continue
        begin = index - 1
        while index < count and jobs[index].many is job.many:
            index += 1
        group = jobs[begin:index]
        for each, outcome in zip(
            group, job.many(connection, [each.arguments for each in group]), strict=True
        ):
            if isinstance(outcome, CatgaError):
                each.error = outcome
            else:
                each.result = outcome


def settle(jobs: Iterable[Job]) -> int:
    """Tell the callers; runs in the loop.

    Returns:
        The topics of those that succeeded.
    """
    topics = 0
    for job in jobs:
        future, error = job.future, job.error
        if error is None:
            topics |= job.topics
            if not future.done():
                future.set_result(job.result)
        elif not future.done():
            future.set_exception(error)
    return topics


def finish(future: asyncio.Future[None], error: BaseException | None) -> None:
    """Tell who waits for a thread to begin or to end; runs in the loop."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
