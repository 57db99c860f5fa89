"""A handler that ends by a cancellation of its own ends nothing else."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from catga_core.interfaces import MessageContext
from catga_core.messages.results import CatgaResult, Success
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Add, Endpoint, Happened, Slow, Sum, adder, count, publish, running, send

pytestmark = pytest.mark.nats


async def cancel_itself(message: Any, context: MessageContext) -> Any:
    raise asyncio.CancelledError


async def test_it_is_answered_recorded_and_counted_and_every_subscription_lives(
    nats_server_shared: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = Endpoint(Slow, cancel_itself)
    deaf = Endpoint(Happened, cancel_itself)
    prefix = "cancel"
    async with running(
        nats_server_shared.url, failing, adder(), events=(deaf,), subject_prefix=prefix
    ) as both:
        error = (await send(both, Slow(1))).error
        await publish(both, Happened(1))
        await eventually(lambda: count(both, "events_failed") == 1)

        assert (error.code, error.retryable) == ("HANDLER_FAILED", False)
        assert "shutting down" not in error.message
        assert count(both, "requests_failed") == 1
        assert count(both, "requests_abandoned") == 0
        assert count(both, "events_dropped") == 0
        assert await send(both, Add(1, 2)) == Success(Sum(3))
        assert both.health().details["state"] == "connected"
    assert "".join(capsys.readouterr()).count("catga.message_failed") == 2


async def test_a_receiver_that_raises_it_ends_neither_the_reader_nor_a_subscription(
    nats_server_shared: NatsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last guard, for what no listener should let through."""

    def deliver(*_: Any) -> None:
        raise asyncio.CancelledError

    async with running(nats_server_shared.url, adder(), subject_prefix="guard") as both:
        listener = both._listeners[0]
        connection = both._connection
        assert connection is not None
        assert connection.client is not None
        sinks = connection.client._sinks
        (sid,) = [sid for sid, sink in sinks.items() if sink == listener.deliver]
        monkeypatch.setitem(sinks, sid, deliver)
        for headers in ({}, {"tenant": "a"}):
            context = {"timeout": 0.05, **headers}
            assert (await send(both, Add(1, 2), **context)).error.code == "TIMEOUT"  # type: ignore[arg-type]
        monkeypatch.undo()
        assert await send(both, Add(1, 2)) == Success(Sum(3))
    assert "could not be taken" in "".join(capsys.readouterr())


async def test_an_inline_handler_that_waits_keeps_its_own_context_variables(
    nats_server_shared: NatsServer,
) -> None:
    kept: ContextVar[int] = ContextVar("kept", default=0)
    seen: list[tuple[int, int]] = []

    async def wait(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        before = kept.get()
        token = kept.set(message.number)
        await asyncio.sleep(0)
        seen.append((before, kept.get()))
        kept.reset(token)
        return Success(Sum(message.number))

    endpoint = Endpoint(Slow, wait)
    async with running(nats_server_shared.url, endpoint, subject_prefix="kept") as both:
        results = await asyncio.gather(*(send(both, Slow(number)) for number in range(1, 4)))
    assert results == [Success(Sum(number)) for number in range(1, 4)]
    assert sorted(seen) == [(0, 1), (0, 2), (0, 3)]
