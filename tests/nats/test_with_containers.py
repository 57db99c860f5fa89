"""What only a whole service shows: its log, and its mediator's own limits of time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaOptions,
    CatgaResult,
    Command,
    Event,
    RequestHandler,
    add_catga,
)
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually

pytestmark = pytest.mark.nats


class Break(Command[str], frozen=True):
    card: str


class Wait(Command[str], frozen=True):
    pass


class Broken(Event, frozen=True):
    pass


async def refuse(event: Broken) -> CatgaResult[None]:
    return CatgaResult.failure(code="NOT_FOUND", message="the shelf is gone")


async def forget(event: Broken):
    return note(event)


async def note(event: Broken) -> None:
    raise AssertionError


class BreakHandler(RequestHandler[Break, str]):
    async def handle(self, message: Break) -> str:
        raise LookupError("the shelf is gone")


class WaitHandler(RequestHandler[Wait, str]):
    async def handle(self, message: Wait) -> str:
        await asyncio.Event().wait()
        return ""


def service(name: str, url: str, prefix: str, *handlers: type) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name, shutdown_timeout_seconds=0.2))
    add_nats_catga(catga, NatsOptions(url, subject_prefix=prefix))
    catga.add_handlers(*handlers)
    return catga


async def test_what_a_handler_raises_is_in_its_services_log_and_not_in_the_answer(
    nats_server_shared: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = nats_server_shared.url
    async with (
        service("shelves", url, "traces", BreakHandler).running(),
        service("clients", url, "traces").running() as clients,
    ):
        error = (await clients.mediator.send(Break("4111"))).error

    logged = "".join(capsys.readouterr())
    assert error.code == "HANDLER_FAILED"
    assert "Traceback" not in f"{error.message} {error.details}"
    assert logged.count("catga.handler_raised") == 1
    assert "Traceback (most recent call last)" in logged
    assert "LookupError: the shelf is gone" in logged
    assert "BreakHandler" in logged
    assert "4111" not in logged


async def test_a_senders_own_timeout_is_counted_and_its_outcome_is_told(
    nats_server_shared: NatsServer,
) -> None:
    url = nats_server_shared.url
    async with (
        service("slow", url, "own-timeout", WaitHandler).running(),
        service("clients", url, "own-timeout").running() as clients,
    ):
        took: list[float] = []
        for _ in range(5):
            start = time.monotonic()
            error = (await clients.mediator.send(Wait(), timeout=0.1)).error
            took.append(time.monotonic() - start)
            assert (error.code, error.details["outcome"]) == ("TIMEOUT", "unknown")
        details = clients.transport.health().details

    assert details["requests_timed_out"] == 5
    assert details["requests_waiting"] == 0
    # The best of five: a busy machine is not the transport's affair.
    assert 0.1 <= min(took) <= 0.13


@pytest.mark.parametrize(
    ("handler", "why"), [(refuse, "the shelf is gone"), (forget, "write await note(...)")]
)
async def test_what_an_event_handler_returns_is_looked_at_also_where_it_never_waits(
    nats_server_shared: NatsServer, capsys: pytest.CaptureFixture[str], handler: Any, why: str
) -> None:
    url = nats_server_shared.url
    prefix = f"returned-{handler.__name__}"
    async with (
        service("shelves", url, prefix, handler).running(),
        service("clients", url, prefix).running() as clients,
    ):
        await clients.mediator.publish(Broken())
        logged = ""

        def told() -> bool:
            nonlocal logged
            logged += "".join(capsys.readouterr())
            return why in logged

        await eventually(told)
