from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import msgspec
import pytest

from catga_core.errors import CatgaError
from catga_core.interfaces import MessageContext
from catga_core.messages import message_type
from catga_core.messages.context import begin_context
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_testing.clock import ManualClock
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import (
    Add,
    Endpoint,
    Gate,
    Happened,
    Nothing,
    Slow,
    Sum,
    add,
    adder,
    count,
    publish,
    running,
    send,
    transport,
)

pytestmark = pytest.mark.nats


@pytest.mark.parametrize("envelope", ["body", "headers"])
@pytest.mark.parametrize("serializer", ["msgpack", "json"])
async def test_request_is_answered_in_both_envelope_forms_and_formats(
    nats_server_shared: NatsServer, envelope: str, serializer: str
) -> None:
    options: dict[str, Any] = {
        "envelope": envelope,
        "serializer": serializer,
        "subject_prefix": f"t-{envelope}-{serializer}",
    }
    url = nats_server_shared.url
    async with running(url, adder(), **options), running(url, **options) as sender:
        assert await send(sender, Add(1, 2)) == Success(Sum(3))


@pytest.mark.parametrize("envelope", ["body", "headers"])
async def test_identity_deadline_trace_and_headers_arrive_as_sent(
    nats_server_shared: NatsServer, envelope: str
) -> None:
    seen: list[MessageContext] = []

    async def remember(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        seen.append(context)
        return await add(message, context)

    headers = {"tenant": " ä 100 % \r\n end ", "x-empty": ""}
    deadline = round(time.time() + 30, 3)
    sent = MessageContext("m 1", "c-1", "cause", deadline, headers, "00-ab-cd-01", "vendor=1")
    url = nats_server_shared.url
    async with (
        running(url, Endpoint(Add, remember), subject_prefix=f"id-{envelope}"),
        running(url, envelope=envelope, subject_prefix=f"id-{envelope}") as sender,
    ):
        assert (await sender.request(message_type(Add), Add(1, 2), sent)).is_success
    assert seen[0].deadline == pytest.approx(deadline, abs=0.0011)
    assert seen == [
        MessageContext("m 1", "c-1", "cause", seen[0].deadline, headers, "00-ab-cd-01", "vendor=1")
    ]


@pytest.mark.parametrize("envelope", ["body", "headers"])
async def test_failure_arrives_with_code_message_retryable_and_details(
    nats_server_shared: NatsServer, envelope: str
) -> None:
    async def refuse(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        return Failure(
            CatgaError("no: ä\n%", code="NO_STOCK", retryable=True, details={"sku": "a", "left": [1, 2]})
        )

    url = nats_server_shared.url
    prefix = f"fail-{envelope}"
    async with (
        running(url, Endpoint(Add, refuse), subject_prefix=prefix),
        running(url, envelope=envelope, subject_prefix=prefix) as sender,
    ):
        error = (await send(sender, Add(1, 2))).error
    assert (error.code, error.message, error.retryable) == ("NO_STOCK", "no: ä\n%", True)
    assert error.details == {"sku": "a", "left": [1, 2]}


async def test_none_is_a_result_like_any_other(nats_server_shared: NatsServer) -> None:
    async def nothing(message: Nothing, context: MessageContext) -> CatgaResult[None]:
        return Success(None)

    async with running(nats_server_shared.url, Endpoint(Nothing, nothing)) as both:
        assert await send(both, Nothing()) == Success(None)


async def test_exactly_one_replica_handles_each_request_whatever_the_services_are_called(
    nats_server_shared: NatsServer,
) -> None:
    handled: list[tuple[str, int]] = []

    def replica(name: str) -> Endpoint:
        async def handle(message: Add, context: MessageContext) -> CatgaResult[Sum]:
            handled.append((name, message.left))
            return Success(Sum(message.left))

        return Endpoint(Add, handle)

    url = nats_server_shared.url
    async with (
        running(url, replica("a"), service="a", subject_prefix="replicas"),
        running(url, replica("a2"), service="a", subject_prefix="replicas"),
        running(url, replica("b"), service="b", subject_prefix="replicas"),
        running(url, subject_prefix="replicas") as sender,
    ):
        results = await asyncio.gather(*(send(sender, Add(number, 0)) for number in range(200)))
    assert [result.unwrap().total for result in results] == list(range(200))
    assert sorted(number for _, number in handled) == list(range(200))
    assert {name for name, _ in handled} == {"a", "a2", "b"}


async def test_event_reaches_every_service_and_one_replica_of_each(nats_server_shared: NatsServer) -> None:
    handled: list[tuple[str, int]] = []

    def listener(name: str) -> tuple[Endpoint, ...]:
        async def handle(event: Happened, context: MessageContext) -> None:
            handled.append((name, event.number))

        return (Endpoint(Happened, handle),)

    url = nats_server_shared.url
    async with (
        running(url, events=listener("a"), service="a", subject_prefix="events"),
        running(url, events=listener("a"), service="a", subject_prefix="events"),
        running(url, events=listener("b"), service="b", subject_prefix="events"),
        running(url, subject_prefix="events") as sender,
    ):
        for number in range(50):
            await publish(sender, Happened(number))
        await eventually(lambda: len(handled) >= 100)
    assert sorted(handled) == sorted([("a", n) for n in range(50)] + [("b", n) for n in range(50)])


async def test_no_handler_anywhere_is_answered_at_once(nats_server_shared: NatsServer) -> None:
    async with running(nats_server_shared.url, subject_prefix="nobody") as sender:
        start = time.monotonic()
        error = (await send(sender, Add(1, 2), timeout=20)).error
        assert time.monotonic() - start < 1
        assert (error.code, error.retryable) == ("HANDLER_NOT_FOUND", False)
        assert "nobody.request.Add" in error.message
        assert count(sender, "requests_unroutable") == 1


async def test_silence_is_a_timeout_at_the_deadline_and_the_handler_runs_on(
    nats_server_shared: NatsServer,
) -> None:
    gate = Gate()
    async with running(nats_server_shared.url, Endpoint(Slow, gate)) as both:
        start = time.monotonic()
        error = (await send(both, Slow(1), timeout=0.2)).error
        assert 0.19 <= time.monotonic() - start < 0.5
        assert (error.code, error.retryable) == ("TIMEOUT", True)
        gate.open.set()
        await eventually(lambda: gate.left == 1)
        await eventually(lambda: count(both, "replies_late") == 1)
        assert count(both, "requests_waiting") == 0


async def test_a_request_without_a_deadline_ends_by_the_request_timeout(
    nats_server_shared: NatsServer,
) -> None:
    seen: list[MessageContext] = []

    async def hang(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        seen.append(context)
        await asyncio.Event().wait()
        raise AssertionError

    made = running(nats_server_shared.url, Endpoint(Slow, hang), request_timeout=0.2)
    async with made as both:
        error = (await send(both, Slow(1), timeout=None)).error
        assert error.code == "TIMEOUT"
        assert seen[0].deadline == pytest.approx(time.time(), abs=1)
        await both.drain(0)


async def test_cancelling_one_request_leaves_the_others_alone_and_nothing_behind(
    nats_server_shared: NatsServer,
) -> None:
    gate = Gate()
    async with running(nats_server_shared.url, Endpoint(Slow, gate)) as both:
        tasks = [asyncio.create_task(send(both, Slow(number))) for number in range(10)]
        await eventually(lambda: gate.entered == 10)
        tasks[3].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[3]
        assert count(both, "requests_waiting") == 9
        gate.open.set()
        others = await asyncio.gather(*tasks[:3], *tasks[4:])
        assert all(result.is_success for result in others)
        assert count(both, "requests_waiting") == 0
        assert both._connection is not None
        mux = both._connection.mux
        assert not any(mux._buckets.values())


async def test_thousands_of_timeouts_leave_nothing_behind(nats_server_shared: NatsServer) -> None:
    gate = Gate()
    async with running(nats_server_shared.url, Endpoint(Slow, gate), limit=3000) as both:
        results = await asyncio.gather(*(send(both, Slow(n), timeout=0.2 + n / 10_000) for n in range(2000)))
        assert {result.error.code for result in results} == {"TIMEOUT"}
        assert both._connection is not None
        mux = both._connection.mux
        await eventually(lambda: not mux._buckets)
        assert (mux.pending, mux._due, mux._timer) == (0, [], None)
        gate.open.set()


async def test_over_the_limit_is_answered_at_once_and_within_it_is_handled(
    nats_server_shared: NatsServer,
) -> None:
    gate = Gate()
    async with running(nats_server_shared.url, Endpoint(Slow, gate), limit=3) as both:
        first = [asyncio.create_task(send(both, Slow(number))) for number in range(3)]
        await eventually(lambda: gate.entered == 3)
        start = time.monotonic()
        error = (await send(both, Slow(99))).error
        assert time.monotonic() - start < 1
        assert (error.code, error.retryable) == ("CONCURRENCY_LIMITED", True)
        gate.open.set()
        assert all(result.is_success for result in await asyncio.gather(*first))
        assert (await send(both, Slow(5))).is_success
        assert count(both, "requests_limited") == 1


async def test_a_slow_handler_does_not_hold_up_a_fast_one_nor_its_own_type(
    nats_server_shared: NatsServer,
) -> None:
    gate = Gate()
    async with running(nats_server_shared.url, Endpoint(Slow, gate), adder()) as both:
        slow = [asyncio.create_task(send(both, Slow(number))) for number in range(20)]
        await eventually(lambda: gate.entered == 20)
        start = time.monotonic()
        assert (await send(both, Add(1, 1))).is_success
        assert time.monotonic() - start < 1
        gate.open.set()
        assert all(result.is_success for result in await asyncio.gather(*slow))


async def test_a_handler_may_send_its_own_type_of_request(nats_server_shared: NatsServer) -> None:
    async def count_down(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        if message.number == 0:
            return Success(Sum(0))
        below = await send(both, Slow(message.number - 1))
        return Success(Sum(below.unwrap().total + 1))

    async with running(nats_server_shared.url, Endpoint(Slow, count_down)) as both:
        assert await send(both, Slow(5)) == Success(Sum(5))


async def test_a_request_whose_deadline_has_passed_is_not_started(nats_server_shared: NatsServer) -> None:
    class Late:
        def time(self) -> float:
            return time.time() + 60

    started: list[object] = []

    async def handle(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        started.append(message)
        return await add(message, context)

    url = nats_server_shared.url
    async with (
        running(url, Endpoint(Add, handle), clock=Late(), subject_prefix="late") as receiver,
        running(url, subject_prefix="late") as sender,
    ):
        error = (await send(sender, Add(1, 2), timeout=5)).error
        assert (error.code, error.details["outcome"]) == ("TIMEOUT", "not_started")
        assert not started
        assert count(receiver, "requests_expired") == 1


async def test_a_request_whose_deadline_has_passed_is_not_sent(nats_server_shared: NatsServer) -> None:
    async with running(nats_server_shared.url, adder()) as both:
        error = (await send(both, Add(1, 2), timeout=-1)).error
        assert (error.code, error.details["outcome"]) == ("TIMEOUT", "not_sent")
        assert count(both, "requests_sent") == 0


async def test_an_endpoint_that_raises_still_answers_without_a_traceback(
    nats_server_shared: NatsServer,
) -> None:
    async def explode(message: Add, context: MessageContext) -> CatgaResult[Sum]:
        raise ValueError("secret")

    async with running(nats_server_shared.url, Endpoint(Add, explode)) as both:
        error = (await send(both, Add(1, 2))).error
        assert error.code == "INTERNAL_ERROR"
        assert "secret" not in error.message


async def test_an_endpoint_may_send_while_it_handles_a_request(
    nats_server_shared: NatsServer,
) -> None:
    async def waits(message: Slow, context: MessageContext) -> CatgaResult[Sum]:
        return await send(both, Add(1, 2))

    endpoints = (Endpoint(Slow, waits), adder())
    async with running(nats_server_shared.url, *endpoints) as both:
        assert await send(both, Slow(1)) == Success(Sum(3))


async def test_everything_works_without_the_short_ways_into_nats_py(
    nats_server_shared: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catga_nats.client.FITS", False)
    handled: list[int] = []

    async def handle(event: Happened, context: MessageContext) -> None:
        handled.append(event.number)

    listener = Endpoint(Happened, handle)
    for envelope in ("body", "headers"):
        made = running(
            nats_server_shared.url,
            adder(),
            events=(listener,),
            envelope=envelope,
            subject_prefix=f"plain-{envelope}",
        )
        async with made as both:
            results = await asyncio.gather(*(send(both, Add(number, 1)) for number in range(100)))
            assert [result.unwrap().total for result in results] == list(range(1, 101))
            assert (await send(both, Slow(1))).error.code == "HANDLER_NOT_FOUND"
            await publish(both, Happened(7))
            await eventually(lambda: handled and handled.pop() == 7)


@pytest.mark.parametrize("while_disconnected", ["fail", "wait"])
async def test_a_deadline_is_kept_to_the_hundredths_and_counted(
    nats_server_shared: NatsServer, while_disconnected: str
) -> None:
    gate = Gate()
    prefix = f"precise-{while_disconnected}"
    options: dict[str, Any] = {"subject_prefix": prefix, "while_disconnected": while_disconnected}
    async with running(nats_server_shared.url, Endpoint(Slow, gate), **options) as both:
        took: list[float] = []
        for _ in range(5):
            start = time.monotonic()
            error = (await send(both, Slow(1), timeout=0.1)).error
            took.append(time.monotonic() - start)
            assert (error.code, error.details["outcome"]) == ("TIMEOUT", "unknown")
        gate.open.set()
        assert count(both, "requests_timed_out") == 5
    # The best of five: a busy machine is not the transport's affair.
    assert 0.1 <= min(took) <= 0.13


@pytest.mark.parametrize("envelope", ["body", "headers"])
@pytest.mark.parametrize("deadline", [math.inf, math.nan, 1e300])
async def test_a_deadline_that_is_no_time_is_none(
    nats_server_shared: NatsServer, envelope: str, deadline: float
) -> None:
    heard: list[MessageContext] = []

    async def hear(event: Happened, context: MessageContext) -> None:
        heard.append(context)

    events = (Endpoint(Happened, hear),)
    options: dict[str, Any] = {"envelope": envelope, "subject_prefix": f"endless-{envelope}"}
    async with running(nats_server_shared.url, adder(), events=events, **options) as both:
        context = msgspec.structs.replace(begin_context(), deadline=deadline)
        result = await both.request(message_type(Add), Add(1, 2), context)
        await both.publish(message_type(Happened), Happened(1), context)
        await eventually(lambda: len(heard) == 1)
    assert result == Success(Sum(3))
    assert heard[0].deadline is None


@pytest.mark.parametrize("now", [math.inf, -math.inf, math.nan])
async def test_a_clock_that_shows_no_time_is_a_timeout_and_no_exception(
    nats_server_shared: NatsServer, now: float
) -> None:
    class Broken(ManualClock):
        def time(self) -> float:
            return now

    broken = transport(nats_server_shared.url, Broken(), subject_prefix="clockless")
    await broken.connect()
    error = (await send(broken, Add(1, 2))).error
    assert error.code == "TIMEOUT"
    assert (await send(broken, Add(1, 2), timeout=None)).error.code == "HANDLER_NOT_FOUND"
    await broken.close()


async def test_absence_of_the_only_responder_is_retryable_when_it_was_there_before(
    nats_server_shared: NatsServer,
) -> None:
    url = nats_server_shared.url
    async with running(url, subject_prefix="restart") as sender:
        never = (await send(sender, Add(1, 2))).error
        async with running(url, adder(), subject_prefix="restart"):
            assert await send(sender, Add(1, 2)) == Success(Sum(3))
        away = (await send(sender, Add(1, 2))).error
        async with running(url, adder(), subject_prefix="restart"):
            assert await send(sender, Add(1, 2)) == Success(Sum(3))

    assert (never.code, never.retryable) == ("HANDLER_NOT_FOUND", False)
    assert (away.code, away.retryable) == ("HANDLER_NOT_FOUND", True)
    assert away.details == {"handled_before": True, "outcome": "not_started"}
