"""The modules that one message passes: how many there are, and how often a call goes from one into another.

`python -m benchmarks.paths` prints a table, with `--trace PATH` every call of one path that goes from one module into
another. It uses the public API only, so the same file also runs in a checkout of an earlier commit:
docs/architecture.md compares two.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from catga_core import CatgaMediator, CatgaOptions, Command, Event, add_catga
from catga_core.event_sourcing.projections import Projection, Projections, add_projection, project

_OUTSIDE = "(outside)"
_WARM_UP = 5
_WRITERS = {
    "dispatch": "catga_core.pipeline.dispatch",
    "pipeline": "catga_core.pipeline.linked",
    "string": "catga_core.container.di.making",
}
"""The modules that write code at run time, by the first word of its file name."""
_SECONDS = 10.0
_ROUNDS = 9
"""Traces of each path, of which the median counts: where a thread is waited for, a few switches depend on timing."""


class Place(Command[int]):
    """Handled by one handler."""

    number: int


class Placed(Event):
    """Published to its handlers, or appended to a stream."""

    number: int


async def place(message: Place) -> int:
    return message.number


async def place_and_publish(message: Place, mediator: CatgaMediator) -> int:
    await mediator.publish(Placed(message.number))
    return message.number


async def first(_event: Placed) -> None: ...


async def second(_event: Placed) -> None: ...


async def third(_event: Placed) -> None: ...


class Counted(Projection, name="counted"):
    """What a handler does is not counted, so it does nothing."""

    async def reset(self) -> None: ...

    @project
    async def placed(self, _event: Placed) -> None: ...


class Trace:
    """Counts what is called while it records.

    A function counts when it is first entered, not again when its coroutine is resumed. A call that goes from one module
    into another is a switch; frames of other packages between the two are passed over.

    Attributes:
        modules: The modules of Catga with at least one called function.
        switches: Caller and callee of each switch, in their order.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.switches: list[tuple[str, str]] = []
        # Kept, because another frame could get the id of one that was freed.
        self._frames: set[FrameType] = set()

    @contextmanager
    def recording(self) -> Generator[None]:
        """Record what is called in the block, and in every task that runs meanwhile."""
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        callee = _module_of(frame)
        if event != "call" or callee is None or frame in self._frames:
            return
        self._frames.add(frame)
        self.modules.add(callee)
        caller = _caller_of(frame)
        if caller != callee:
            self.switches.append((caller, callee))


def _module_of(frame: FrameType) -> str | None:
    """Return the module of Catga that a frame belongs to, `None` for any other."""
    name = frame.f_globals.get("__name__")
    if name is None:
        # Only code that Catga has written at run time is in no module.
        kind = frame.f_code.co_filename.split()[0].strip("<>")
        return _WRITERS.get(kind, kind)
    return name if name.startswith("catga_") else None


def _caller_of(frame: FrameType) -> str:
    above = frame.f_back
    while above is not None:
        name = _module_of(above)
        if name is not None:
            return name
        above = above.f_back
    return _OUTSIDE


async def _send(trace: Trace, options: CatgaOptions, *handlers: Callable[..., Any]) -> None:
    catga = add_catga(options)
    catga.add_handlers(*handlers)
    async with catga.running() as app:
        for number in range(_WARM_UP):
            await app.mediator.send(Place(number))
        with trace.recording():
            result = await app.mediator.send(Place(_WARM_UP))
        result.unwrap()


async def _plain_send(trace: Trace, _folder: Path) -> None:
    await _send(trace, CatgaOptions(service_name="paths"), place)


async def _featured_send(trace: Trace, folder: Path) -> None:
    options = CatgaOptions(
        service_name="paths",
        store=_sqlite_in(folder),
        enable_validation=True,
        enable_idempotency=True,
        enable_outbox=True,
        enable_outbox_relay=False,  # it would work in between
        enable_dead_letter_queue=True,
    )
    await _send(trace, options, place_and_publish, first)


async def _publish(trace: Trace, _folder: Path) -> None:
    catga = add_catga(CatgaOptions(service_name="paths"))
    catga.add_handlers(first, second, third)
    async with catga.running() as app:
        for number in range(_WARM_UP):
            await app.mediator.publish(Placed(number))
        with trace.recording():
            await app.mediator.publish(Placed(_WARM_UP))


async def _project_in_memory(trace: Trace, _folder: Path) -> None:
    await _project(trace, CatgaOptions(service_name="paths"))


async def _project_on_sqlite(trace: Trace, folder: Path) -> None:
    await _project(trace, CatgaOptions(service_name="paths", store=_sqlite_in(folder)))


async def _project_ten(trace: Trace, _folder: Path) -> None:
    await _project(trace, CatgaOptions(service_name="paths"), events=10)


async def _project(trace: Trace, options: CatgaOptions, events: int = 1) -> None:
    catga = add_catga(options)
    add_projection(catga, Counted)
    async with catga.running() as app:
        projections = app.get(Projections)
        for number in range(_WARM_UP):
            done = await app.event_store.append("orders", Placed(number))
            await projections.wait_for("counted", done.position)
        with trace.recording():
            done = await app.event_store.append("orders", [Placed(_WARM_UP)] * events)
        async with asyncio.timeout(_SECONDS):
            # One turn of the event loop at a time, so that what comes after the checkpoint is not counted.
            while projections.health("counted").details["position"] < done.position:
                with trace.recording():
                    await asyncio.sleep(0)


async def _request(trace: Trace, _folder: Path) -> None:
    sender = add_catga(CatgaOptions(service_name="sender", transport="memory://paths"))
    receiver = add_catga(CatgaOptions(service_name="receiver", transport="memory://paths"))
    receiver.add_handlers(place)
    async with receiver.running(), sender.running() as app:
        for number in range(_WARM_UP):
            await app.mediator.send(Place(number))
        with trace.recording():
            result = await app.mediator.send(Place(_WARM_UP))
        result.unwrap()


def _sqlite_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'paths.db'}"


PATHS: dict[str, tuple[str, Callable[[Trace, Path], Awaitable[None]]]] = {
    "send": ("`send`, nothing configured", _plain_send),
    "features": (
        "`send` with validation, idempotency, outbox and dead letters; the handler publishes (SQLite)",
        _featured_send,
    ),
    "publish": ("`publish` to three handlers", _publish),
    "projection": ("`append`, until a projection has saved its checkpoint (memory)", _project_in_memory),
    "projection-batch": (
        "`append` of ten events, until a projection has saved its checkpoint (memory)",
        _project_ten,
    ),
    "projection-sqlite": (
        "`append`, until a projection has saved its checkpoint (SQLite)",
        _project_on_sqlite,
    ),
    "transport": ("`send` over the in-process transport, until it is answered", _request),
}


async def trace_of(path: str) -> Trace:
    """Return what one message of a path passes.

    Args:
        path: A key of `PATHS`.
    """
    trace = Trace()
    with tempfile.TemporaryDirectory() as folder:
        await PATHS[path][1](trace, Path(folder))
    return trace


def main() -> None:
    """Print a table of all paths, or the trace of one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paths", description=__doc__)
    parser.add_argument("--trace", choices=PATHS, help="print each switch of one path, in order")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if arguments.trace:
        for caller, callee in asyncio.run(trace_of(arguments.trace)).switches:
            print(f"{caller} -> {callee}")
        return
    print("| path | modules | switches |")
    print("|---|---|---|")
    for path, (title, _) in PATHS.items():
        traces = [asyncio.run(trace_of(path)) for _ in range(_ROUNDS)]
        modules = statistics.median(len(trace.modules) for trace in traces)
        switches = statistics.median(len(trace.switches) for trace in traces)
        print(f"| {title} | {modules} | {switches} |")


if __name__ == "__main__":
    main()
