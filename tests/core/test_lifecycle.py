from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from catga_core import (
    CatgaError,
    CatgaMediator,
    CatgaOptions,
    Command,
    Event,
    Health,
    HealthStatus,
    Role,
    Transport,
    add_catga,
)
from catga_core.interfaces import Inbound
from catga_core.memory import LocalTransport, local_bus
from catga_testing.waiting import eventually
from tests.core.support import ROOT, Gate, run_program


class Work(Command[str]):
    pass


class Inner(Command[str]):
    pass


class Happened(Event):
    pass


class Noted:
    """Notes its start and its stop."""

    log: list[str]

    async def start(self) -> None:
        self.log.append(f"{type(self).__name__} started")

    async def stop(self) -> None:
        self.log.append(f"{type(self).__name__} stopped")


class Pool(Noted):
    pass


class Cache(Noted):
    def __init__(self, pool: Pool) -> None: ...


class Worker(Noted):
    def __init__(self, mediator: CatgaMediator, cache: Cache) -> None:
        self.mediator = mediator

    async def start(self) -> None:
        result = await self.mediator.send(Inner())
        self.log.append(f"Worker started: {result.is_success}")

    async def stop(self) -> None:
        result = await self.mediator.send(Inner())
        self.log.append(f"Worker stopped: {result.is_success}")


async def inner(message: Inner) -> str:
    await asyncio.sleep(0)
    return "inner"


@pytest.fixture(autouse=True)
def noted() -> list[str]:
    Noted.log = []
    return Noted.log


# --- order ---


async def test_hosted_services_start_in_dependency_order_and_stop_in_reverse(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Cache)
    catga.add_hosted(Pool)

    async with catga.running():
        assert noted == ["Pool started", "Cache started"]
    assert noted[2:] == ["Cache stopped", "Pool stopped"]


async def test_what_holds_the_mediator_starts_last_can_send_and_stops_first(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Worker)
    catga.add_hosted(Cache)
    catga.add_hosted(Pool)
    catga.add_handlers(inner)

    async with catga.running():
        assert noted == ["Pool started", "Cache started", "Worker started: True"]
    assert noted[3:] == ["Worker stopped: True", "Cache stopped", "Pool stopped"]


async def test_a_hosted_service_is_a_singleton_like_any_other():
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_hosted(Cache)

    async with catga.running() as app:
        assert app.get(Pool) is app.pool


async def test_a_container_can_run_again(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_handlers(inner)

    for _ in range(2):
        async with catga.running() as app:
            assert (await app.mediator.send(Inner())).is_success
    assert noted == ["Pool started", "Pool stopped"] * 2


def test_a_container_can_run_again_in_another_event_loop():
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_handlers(inner)

    async def once() -> bool:
        async with catga.running() as app:
            return (await app.mediator.send(Inner())).is_success

    assert [asyncio.run(once()) for _ in range(2)] == [True, True]


# --- a start that fails ---


class Broken(Noted):
    def __init__(self, cache: Cache) -> None: ...

    async def start(self) -> None:
        raise OSError("no route to host")


class BrokenToo(Pool):
    async def stop(self) -> None:
        await super().stop()
        raise OSError("cannot stop either")


async def test_a_failing_start_stops_what_was_started_and_raises_the_first_error(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Pool, BrokenToo)
    catga.add_hosted(Cache)
    catga.add_hosted(Broken)

    with pytest.raises(OSError, match="no route to host"):
        async with catga.running():
            pytest.fail("it must not run")

    assert noted == ["BrokenToo started", "Cache started", "Cache stopped", "BrokenToo stopped"]
    assert catga.health()["mediator"].status is HealthStatus.UNHEALTHY


async def test_after_a_failed_start_the_container_can_be_mended_and_run():
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_hosted(Cache)
    catga.add_hosted(Broken)
    with pytest.raises(OSError, match="no route"):
        async with catga.running():
            pass

    class Mended(Broken):
        async def start(self) -> None: ...

    catga.add_hosted(Broken, Mended)

    async with catga.running() as app:
        assert isinstance(app.get(Broken), Mended)


async def test_a_start_that_takes_too_long_is_given_up(noted: list[str]):
    class Sleeps(Noted):
        async def start(self) -> None:
            await asyncio.Event().wait()

    catga = add_catga(CatgaOptions(start_timeout_seconds=0.01))
    catga.add_hosted(Pool)
    catga.add_hosted(Sleeps)

    with pytest.raises(CatgaError) as raised:
        async with catga.running():
            pass

    assert re.search(r"Sleeps.*0\.01.*start_timeout_seconds", raised.value.message)
    assert noted == ["Pool started", "Pool stopped"]


async def test_a_cancelled_start_stops_what_was_started(noted: list[str]):
    gate = Gate()

    class Sleeps(Noted):
        async def start(self) -> None:
            await gate.pass_through()

    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_hosted(Sleeps)

    async def run() -> None:
        async with catga.running():
            pass

    running = asyncio.ensure_future(run())
    await gate.reached()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert noted == ["Pool started", "Pool stopped"]


async def test_singletons_of_a_failed_start_are_closed():
    closed: list[str] = []

    class Client:
        def close(self) -> None:
            closed.append("client")

    catga = add_catga()
    catga.add_singleton(Client)
    catga.add_hosted(Pool)
    catga.add_hosted(Cache)
    catga.add_hosted(Broken)

    with pytest.raises(OSError, match="no route"):
        async with catga.running():
            pass

    assert closed == ["client"]


class Connection:
    def __init__(self) -> None:
        raise OSError("no such host")


def makes_a_connection() -> Connection:
    raise OSError("no such host")


async def awaits_a_connection() -> Connection:
    raise OSError("no such host")


class HandlesWork:
    def __init__(self) -> None:
        raise OSError("no such host")

    async def handle(self, message: Work) -> str:
        return ""


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (None, r"while making Connection \(test_lifecycle.py:\d+\)"),
        (makes_a_connection, r"while making Connection \(makes_a_connection, test_lifecycle.py:\d+\)"),
        (awaits_a_connection, r"while making Connection \(awaits_a_connection, test_lifecycle.py:\d+\)"),
        (HandlesWork, r"while making HandlesWork \(test_lifecycle.py:\d+\)"),
        (Broken, r"while starting Broken"),
    ],
)
async def test_what_fails_while_starting_is_named(source: Any, note: str):
    catga = add_catga()
    catga.add_singleton(Cache)
    catga.add_singleton(Pool)
    if source is HandlesWork:
        catga.add_handlers(HandlesWork)
    elif source is Broken:
        catga.add_hosted(Broken)
    else:
        catga.add_singleton(Connection, source)

    with pytest.raises(OSError, match=r"no such host|no route") as raised:
        async with catga.running():
            pass

    assert [re.fullmatch(note, each) is not None for each in raised.value.__notes__] == [True]


@pytest.mark.parametrize("source", [None, makes_a_connection, awaits_a_connection])
async def test_a_scoped_service_that_cannot_be_made_is_named_on_the_exception(source: Any):
    async def work(message: Work, connection: Connection) -> str:
        return ""

    catga = add_catga()
    catga.add_scoped(Connection, source)
    catga.add_handlers(work)

    async with catga.running() as app:
        result = await app.mediator.send(Work())

    assert result.error.code == "HANDLER_FAILED"
    assert isinstance(result.error.__cause__, OSError)
    assert "while making Connection (" in "".join(result.error.__cause__.__notes__)


async def test_a_container_that_never_started_does_not_say_that_it_stopped(
    log: list[MutableMapping[str, Any]],
):
    catga = add_catga()
    catga.add_hosted(Cache)
    catga.add_hosted(Pool)
    catga.add_hosted(Broken)

    with pytest.raises(OSError, match="no route"):
        async with catga.running():
            pass
    catga.add_hosted(Broken, type("Mended", (Broken,), {"start": Noted.start}))
    async with catga.running():
        pass
    catga.add_hosted(Broken, Broken)
    with pytest.raises(OSError, match="no route"):
        async with catga.running():
            pass

    assert [line["event"] for line in log] == ["catga.started", "catga.stopped"]


# --- a stop ---


async def test_a_stop_waits_for_what_is_in_flight():
    gate = Gate()
    open_at_the_end: list[bool] = []

    class Client:
        is_open = True

        def close(self) -> None:
            self.is_open = False

    async def work(message: Work, client: Client) -> str:
        await gate.pass_through()
        open_at_the_end.append(client.is_open)
        return "done"

    catga = add_catga()
    catga.add_singleton(Client)
    catga.add_handlers(work)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Work()))
        await gate.reached()
        asyncio.get_running_loop().call_soon(gate.open)

    assert sending.done()
    assert (await sending).unwrap() == "done"
    assert open_at_the_end == [True]


@pytest.mark.parametrize("kind", ["send", "send with options", "publish", "behaviors", "scoped"])
async def test_every_kind_of_work_in_flight_is_waited_for(kind: str):
    gate = Gate()

    class Session:
        pass

    async def work(message: Work) -> str:
        await gate.pass_through()
        return "done"

    async def scoped(message: Inner, session: Session) -> str:
        await gate.pass_through()
        return "done"

    async def on_happened(message: Happened) -> None:
        await gate.pass_through()

    catga = add_catga(CatgaOptions(timeout_seconds=60 if kind == "behaviors" else None))
    catga.add_scoped(Session)
    catga.add_handlers(work, scoped, on_happened)

    async with catga.running() as app:
        begun: Any = {
            "send": lambda: app.mediator.send(Work()),
            "send with options": lambda: app.mediator.send(Work(), timeout=60),
            "publish": lambda: app.mediator.publish(Happened()),
            "behaviors": lambda: app.mediator.send(Work()),
            "scoped": lambda: app.mediator.send(Inner()),
        }[kind]()
        task = asyncio.ensure_future(begun)
        await gate.reached()
        in_flight = catga.health()["mediator"].details["in_flight"]
        asyncio.get_running_loop().call_soon(gate.open)

    assert in_flight == 1
    assert task.done()
    assert catga.health()["mediator"].details["in_flight"] == 0


async def test_a_stop_waits_no_longer_than_the_shutdown_timeout(log: list[MutableMapping[str, Any]]):
    gate = Gate()

    async def work(message: Work) -> str:
        await gate.pass_through()
        return "done"

    catga = add_catga(CatgaOptions(shutdown_timeout_seconds=0.01))
    catga.add_handlers(work)

    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Work()))
        await gate.reached()

    assert not sending.done()
    said = [(each["log_level"], each["event"], each["left_in_flight"]) for each in log[1:]]
    assert said == [("warning", "catga.left_in_flight", 1), ("info", "catga.stopped", 1)]
    gate.open()
    await sending


async def test_while_draining_nested_sends_go_through_and_new_ones_are_refused():
    gate = Gate()
    said: list[Any] = []

    async def work(message: Work, mediator: CatgaMediator) -> str:
        await gate.pass_through()
        await mediator.publish(Happened())
        said.append(await mediator.send(Inner(), timeout=5))
        return (await mediator.send(Inner())).unwrap()

    async def on_happened(message: Happened) -> None:
        said.append("published")

    catga = add_catga()
    catga.add_handlers(work, inner, on_happened)

    async with catga.running() as app:
        mediator, sender = app.mediator, app.mediator.sender(Inner)
        sending = asyncio.ensure_future(mediator.send(Work()))
        await gate.reached()

        async def meanwhile() -> list[bool]:
            await eventually(lambda: "stopping" in catga.health()["mediator"].description)
            new = [
                await mediator.send(Inner()),
                await sender(Inner()),
                await mediator.send(Inner(), timeout=5),
            ]
            gate.open()
            return [each.is_success for each in new]

        others = asyncio.ensure_future(meanwhile())

    assert await others == [False, False, False]
    assert (await sending).unwrap() == "inner"
    assert said[0] == "published"
    assert said[1].is_success


async def test_a_nested_send_in_a_task_of_its_own_is_waited_for_as_well():
    gate = Gate()
    tasks: list[asyncio.Task[Any]] = []

    async def slow_inner(message: Inner) -> str:
        await gate.pass_through()
        return "inner"

    go_on = asyncio.Event()

    async def work(message: Work, mediator: CatgaMediator) -> str:
        await go_on.wait()

        async def nested() -> Any:
            return await mediator.send(Inner())

        tasks.append(asyncio.ensure_future(nested()))
        await asyncio.sleep(0)
        return "done"

    catga = add_catga()
    catga.add_handlers(work, slow_inner)

    async def finish() -> None:
        await eventually(lambda: "stopping" in catga.health()["mediator"].description)
        go_on.set()
        await gate.reached()
        in_flight.append(catga.health()["mediator"].details["in_flight"])
        gate.open()

    in_flight: list[int] = []
    async with catga.running() as app:
        sending = asyncio.ensure_future(app.mediator.send(Work()))
        finishing = asyncio.ensure_future(finish())
        await asyncio.sleep(0)

    await finishing
    assert (await sending).unwrap() == "done"
    assert tasks[0].done()
    assert tasks[0].result().unwrap() == "inner"
    assert in_flight[0] >= 1


async def test_a_cancelled_stop_still_closes_everything(noted: list[str]):
    gate = Gate()

    class Slow(Noted):
        async def stop(self) -> None:
            await gate.pass_through()
            await super().stop()

    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_hosted(Slow)

    async def run() -> None:
        async with catga.running():
            pass

    running = asyncio.ensure_future(run())
    await gate.reached()
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    still_stopping = not running.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert still_stopping
    assert noted[-2:] == ["Slow stopped", "Pool stopped"]
    assert catga.health()["mediator"].description == "the container is stopped"


async def test_what_goes_wrong_while_stopping_is_collected_and_the_rest_is_stopped(
    noted: list[str], log: list[MutableMapping[str, Any]]
):
    class Breaks(Noted):
        def __init__(self, pool: Pool) -> None: ...

        async def stop(self) -> None:
            raise OSError("one")

    class Client:
        def close(self) -> None:
            raise OSError("two")

    catga = add_catga(CatgaOptions(service_name="orders"))
    catga.add_singleton(Client)
    catga.add_hosted(Pool)
    catga.add_hosted(Breaks)

    with pytest.raises(ExceptionGroup) as raised:
        async with catga.running():
            pass

    assert re.search(r"orders stopped.*2", raised.value.message)
    assert [str(each) for each in raised.value.exceptions] == ["one", "two"]
    assert raised.value.exceptions[0].__notes__ == ["while stopping Breaks"]
    assert noted[-1] == "Pool stopped"
    assert "catga.stop_failed" in [line["event"] for line in log]


async def test_the_blocks_own_exception_passes_through_after_the_stop(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Pool)

    with pytest.raises(KeyError):
        async with catga.running():
            raise KeyError("mine")

    assert noted[-1] == "Pool stopped"


# --- the transport ---


class NotedTransport(LocalTransport):
    def __init__(self, noted: list[str], fails: str = "") -> None:
        super().__init__(local_bus("lifecycle"))
        self.noted = noted
        self.fails = fails

    def _note(self, what: str) -> None:
        self.noted.append(what)
        if what == self.fails:
            raise CatgaError(f"cannot {what}", code="TRANSPORT_FAILED")

    async def connect(self) -> None:
        self._note("connect")
        await super().connect()

    async def serve(self, inbound: Inbound, /) -> None:
        self._note("serve")
        await super().serve(inbound)

    async def drain(self, timeout: float, /) -> None:
        self._note("drain")
        await super().drain(timeout)

    async def close(self) -> None:
        self._note("close")
        await super().close()


async def test_the_transport_connects_first_serves_last_drains_first_and_closes_last(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_hosted(Cache)
    catga.add_hosted(Worker)
    catga.add_handlers(inner)
    catga.add_singleton(Transport, lambda: NotedTransport(noted))

    async with catga.running():
        pass

    assert noted == [
        "connect",
        "Pool started",
        "Cache started",
        "Worker started: True",
        "serve",
        "Worker stopped: True",
        "drain",
        "Cache stopped",
        "Pool stopped",
        "close",
    ]


async def test_a_transport_that_cannot_connect_is_closed_and_is_the_error_of_the_start(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_singleton(Transport, lambda: NotedTransport(noted, "connect"))

    with pytest.raises(CatgaError, match="cannot connect"):
        async with catga.running():
            pass

    assert noted == ["connect", "close"]


async def test_a_transport_that_cannot_serve_is_closed_again(noted: list[str]):
    catga = add_catga()
    catga.add_hosted(Pool)
    catga.add_singleton(Transport, lambda: NotedTransport(noted, "serve"))

    with pytest.raises(CatgaError, match="cannot serve"):
        async with catga.running():
            pass

    assert noted == ["connect", "Pool started", "serve", "drain", "Pool stopped", "close"]


async def test_work_in_flight_that_waits_for_another_process_is_finished():
    gate = Gate()

    async def work(message: Work, mediator: CatgaMediator) -> str:
        return (await mediator.send(Inner())).unwrap()

    async def slow_inner(message: Inner) -> str:
        await gate.pass_through()
        return "from far away"

    here, far_away = add_catga(), add_catga()
    for catga in (here, far_away):
        catga.add_singleton(Transport, lambda: LocalTransport(local_bus("far")))
    here.add_handlers(work)
    far_away.add_handlers(slow_inner)

    async def open_later() -> None:
        await eventually(lambda: "stopping" in here.health()["mediator"].description)
        await asyncio.sleep(0)
        gate.open()

    async with far_away.running():
        async with here.running() as app:
            sending = asyncio.ensure_future(app.mediator.send(Work()))
            opening = asyncio.ensure_future(open_later())
            await gate.reached()
        await opening

    assert (await sending).unwrap() == "from far away"


# --- health ---


async def test_health_tells_each_parts_state_in_each_state_of_the_container():
    class Reports(Noted):
        async def start(self) -> None:
            states.append(catga.health()["mediator"])

        async def stop(self) -> None:
            states.append(catga.health()["mediator"])

        def health(self) -> Health:
            return Health(HealthStatus.DEGRADED, "slow today")

    states: list[Health] = []
    catga = add_catga()
    catga.add_hosted(Reports)
    catga.add_singleton(Transport, lambda: NotedTransport([]))

    before = catga.health()
    async with catga.running() as app:
        running = app.health()
    after = catga.health()

    assert [each["mediator"].status for each in (before, running, after)] == [
        HealthStatus.UNHEALTHY,
        HealthStatus.HEALTHY,
        HealthStatus.UNHEALTHY,
    ]
    assert [each.description for each in states] == ["the container is starting", "the container is stopping"]
    assert {each.status for each in states} == {HealthStatus.UNHEALTHY}
    assert running["reports"] == Health(HealthStatus.DEGRADED, "slow today")
    assert running["transport"].status is HealthStatus.HEALTHY
    assert set(before) == set(after) == {"mediator"}


async def test_start_and_stop_write_one_line_each(log: list[MutableMapping[str, Any]]):
    catga = add_catga(CatgaOptions(service_name="orders"))
    catga.add_handlers(inner)

    async with catga.running():
        pass

    assert [(line["event"], line["service_name"]) for line in log] == [
        ("catga.started", "orders"),
        ("catga.stopped", "orders"),
    ]


@pytest.mark.parametrize(
    ("roles", "logged"),
    [
        ({"serve", "work"}, None),
        ({"admin"}, ["admin"]),
        ({"work"}, ["work"]),
        ({"serve", "admin"}, ["admin", "serve"]),
    ],
)
async def test_a_start_with_other_than_the_default_roles_names_them(
    log: list[MutableMapping[str, Any]], roles: set[Role], logged: list[str] | None
):
    async with add_catga().running(roles=roles):
        pass

    assert [line.get("roles") for line in log if line["event"] == "catga.started"] == [logged]


# --- run() ---

PROGRAM = """
    import asyncio, sys
    from catga_core import add_catga, run

    class Part:
        async def start(self):
            print("started", type(asyncio.get_running_loop()).__module__, flush=True)
        async def stop(self):
            print("stopped", flush=True)

    catga = add_catga()
    catga.add_hosted(Part)
    {call}
    print("ended", flush=True)
"""


# One stream tells in which order lines were written.
LOG_TO_STDOUT = "import structlog\nstructlog.configure(logger_factory=structlog.PrintLoggerFactory())\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("call", ["run(catga)", "asyncio.run(catga.run())"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_well_on_a_signal(number: signal.Signals, call: str):
    with subprocess.Popen(
        [sys.executable, "-c", LOG_TO_STDOUT + textwrap.dedent(PROGRAM).replace("{call}", call)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "catga.started" in line:
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "stopped\n" in rest
    assert rest.endswith("ended\n")


def test_run_takes_uvloops_loop_where_it_is_installed():
    program = """
        import asyncio, os, signal, sys, types

        # uvloop itself may not be installed here; what matters is whose loop is asked for.
        class Loop(asyncio.SelectorEventLoop):
            pass

        sys.modules["uvloop"] = types.SimpleNamespace(new_event_loop=Loop)
        from catga_core import add_catga, run

        class Part:
            async def start(self):
                print(type(asyncio.get_running_loop()) is Loop)
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
            async def stop(self):
                pass

        catga = add_catga()
        catga.add_hosted(Part)
        run(catga)
    """

    assert "True\n" in run_program(program)


# Begins to start, to stop or to wait for work, and says so; whoever reads it sends a signal.
SLOW_PROGRAM = """
    import asyncio, threading
    from catga_core import Command, Transport, add_catga, run
    from catga_core import CatgaOptions
    from catga_core.memory import LocalTransport, local_bus

    class Work(Command[str]):
        pass

    async def work(message: Work) -> str:
        await forever("working")
        return ""

    async def forever(what):
        print(what, flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            print(what, "ended", flush=True)

    class Slow(LocalTransport):
        async def connect(self):
            await (forever("connecting") if SLOW == "connect" else super().connect())
        async def drain(self, timeout):
            if SLOW == "work":
                print("waiting", flush=True)
            await (forever("draining") if SLOW == "drain" else super().drain(timeout))
        async def close(self):
            print("transport closed", flush=True)

    class Pool:
        async def start(self):
            print("pool started", flush=True)
        async def stop(self):
            print("pool stopped", flush=True)

    class Worker:
        def __init__(self, mediator: Mediator) -> None:
            self.mediator = mediator
        async def start(self):
            if SLOW == "work":
                self.task = asyncio.ensure_future(self.mediator.send(Work()))
        async def stop(self):
            if SLOW == "stop":
                await forever("stopping")

    catga = add_catga(CatgaOptions(shutdown_timeout_seconds=60))
    catga.add_singleton(Transport, lambda: Slow(local_bus("slow")))
    catga.add_hosted(Pool)
    catga.add_hosted(Worker)
    catga.add_handlers(work)
    run(catga)
    print("left", flush=True)
"""


def signalled(slow: str, number: signal.Signals, signals: Sequence[str]) -> tuple[int, list[str]]:
    """Run the program, sending the signal once for each text that a line has; return its exit code and what it prints."""
    due = list(signals)
    head = f"SLOW = {slow!r}\n{LOG_TO_STDOUT}from catga_core import CatgaMediator as Mediator\n"
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(SLOW_PROGRAM)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            found = next((each for each in due if each in line), None)
            if found is not None:
                due.remove(found)
                process.send_signal(number)
        code = process.wait(timeout=20)
    return code, lines


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_still_connects_ends_the_start_at_once_and_cleanly(number: signal.Signals):
    code, lines = signalled("connect", number, ["connecting"])

    assert code == 0
    assert lines == ["connecting", "connecting ended", "transport closed", "left"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("slow", "begun"), [("drain", "draining"), ("stop", "stopping")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_waiting_and_everything_is_still_closed(
    slow: str, begun: str, number: signal.Signals
):
    code, lines = signalled(slow, number, ["catga.started", begun])

    assert code == 0
    assert [each for each in lines if "catga." not in each] == [
        "pool started",
        begun,
        f"{begun} ended",
        "pool stopped",
        "transport closed",
        "left",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_second_signal_ends_the_waiting_for_a_message_in_flight():
    code, lines = signalled("work", signal.SIGTERM, ["catga.started", "waiting"])

    assert code == 0
    assert [each for each in lines if "catga." not in each] == [
        "pool started",
        "working",
        "waiting",
        "pool stopped",
        "transport closed",
        "working ended",
        "left",
    ]
    assert any("catga.left_in_flight" in each for each in lines)


def test_run_tells_a_start_that_fails_on_stderr_and_exits_with_1():
    program = """
        from catga_core import CatgaError, Transport, add_catga, run
        from catga_core.memory import LocalTransport, local_bus

        class Unreachable(LocalTransport):
            async def connect(self):
                raise CatgaError("nobody answers at example:4222: start a server", code="TRANSPORT_FAILED")

        class Missing: ...

        class Needs:
            def __init__(self, missing: Missing) -> None: ...

        unreachable, wrong = add_catga(), add_catga()
        unreachable.add_singleton(Transport, lambda: Unreachable(local_bus()))
        wrong.add_singleton(Needs)

        for container in (unreachable, wrong):
            try:
                run(container)
            except SystemExit as exit:
                print("exit", exit.code)
        run(wrong)
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == "exit 1\nexit 1\n"
    first, *others = done.stderr.splitlines()
    assert first == "TRANSPORT_FAILED: nobody answers at example:4222: start a server"
    assert len(others) == 2
    assert all(each.startswith("Needs needs Missing") for each in others)


def test_run_lets_any_other_error_through_with_its_traceback():
    program = """
        from catga_core import add_catga, run

        class Broken:
            def __init__(self) -> None:
                raise OSError("no such host")

        catga = add_catga()
        catga.add_singleton(Broken)
        try:
            run(catga)
        except OSError as error:
            print(error)
    """

    assert run_program(program) == "no such host\n"
