"""Responses that the server does not read as fast as they come wait, and none is dropped in silence."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from catga_core.errors import Outcome
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Success
from catga_nats.connection import NatsConnection
from catga_testing.servers import Link, NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Add, Blob, Endpoint, Sum, adder, count, running, send

pytestmark = pytest.mark.nats

LARGE = 900_000


async def answer(message: Blob, context: MessageContext) -> CatgaResult[bytes]:
    return Success(b"x" * message.answer_size)


async def answer_later(message: Blob, context: MessageContext) -> CatgaResult[bytes]:
    await asyncio.sleep(0)
    return Success(b"x" * message.answer_size)


def no_room_for_large_ones(
    connection: NatsConnection, client: object, size: int, *, small: bool = False
) -> bool:
    return small and size < LARGE


@pytest.mark.parametrize("handle", [answer, answer_later])
@pytest.mark.parametrize("envelope", ["body", "headers"])
async def test_many_large_answers_at_once_all_arrive(
    nats_server_shared: NatsServer, handle: Any, envelope: str
) -> None:
    url, prefix = nats_server_shared.url, f"large-{handle.__name__}-{envelope}"
    async with (
        running(url, Endpoint(Blob, handle), subject_prefix=prefix) as service,
        running(url, subject_prefix=prefix, envelope=envelope) as sender,
    ):
        results = await asyncio.gather(*(send(sender, Blob(b"", LARGE), timeout=30) for _ in range(40)))

        assert [len(result.value) for result in results] == [LARGE] * 40
        assert count(service, "replies_delayed") > 0
        assert count(service, "replies_lost") == 0


async def test_small_answer_passes_large_ones_that_wait(nats_server: NatsServer) -> None:
    async with (
        Link(nats_server.url) as link,
        running(link.url, Endpoint(Blob, answer), adder(), request_timeout=30) as service,
        running(nats_server.url) as sender,
    ):
        large = [asyncio.create_task(send(sender, Blob(b"", LARGE), timeout=30)) for _ in range(40)]
        await eventually(lambda: count(service, "replies_delayed") > 0, within=10)

        assert await send(sender, Add(1, 2), timeout=20) == Success(Sum(3))

        assert all(result.is_success for result in await asyncio.gather(*large))


async def test_answer_that_cannot_be_sent_by_its_deadline_is_counted_and_logged(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(nats_server.url, Endpoint(Blob, answer)) as service,
        running(nats_server.url) as sender,
    ):
        monkeypatch.setattr(NatsConnection, "has_room", no_room_for_large_ones)
        with capture_logs() as logs:
            began = time.monotonic()
            result = await send(sender, Blob(b"", LARGE), timeout=0.5)
            await eventually(lambda: count(service, "replies_lost") == 1)

        assert time.monotonic() - began < 5
        assert result.error.outcome is Outcome.UNKNOWN
        assert [line["message"] for line in logs if line["event"] == "catga.response_dropped"] == ["Blob v1"]


async def test_large_answer_that_waits_at_the_end_of_a_drain_is_answered_with_a_failure(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(nats_server.url, Endpoint(Blob, answer)) as service,
        running(nats_server.url) as sender,
    ):
        monkeypatch.setattr(NatsConnection, "has_room", no_room_for_large_ones)
        asking = asyncio.create_task(send(sender, Blob(b"", LARGE), timeout=30))
        await eventually(lambda: count(service, "replies_delayed") == 1)

        await service.drain(0.1)

        result = await asking
        assert result.error.code == "TRANSPORT_FAILED"
        assert result.error.outcome is Outcome.UNKNOWN
