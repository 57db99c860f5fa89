from __future__ import annotations

import asyncio

import pytest

from catga_core.errors import MessageTooLargeError
from catga_core.interfaces import MessageContext
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.nats.support import Add, Blob, Endpoint, Happened, adder, count, publish, running, send

pytestmark = pytest.mark.nats


class Log:
    """Handles events once it is let go, and remembers them."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.running = 0
        self.most = 0
        self.open = asyncio.Event()

    async def __call__(self, event: Happened, context: MessageContext) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.open.wait()
        self.running -= 1
        self.numbers.append(event.number)


async def test_events_over_the_limit_wait_for_a_place_and_none_is_lost(
    nats_server_shared: NatsServer,
) -> None:
    log = Log()
    made = running(
        nats_server_shared.url, events=(Endpoint(Happened, log),), limit=4, subject_prefix="backpressure"
    )
    async with made as both:
        for number in range(1000):
            await publish(both, Happened(number))
        await eventually(lambda: log.running == 4)
        assert count(both, "events_received") == 4
        log.open.set()
        await eventually(lambda: len(log.numbers) == 1000)
        assert log.numbers == list(range(1000))
        assert (log.most, count(both, "events_dropped")) == (4, 0)


@pytest.mark.parametrize("limits", [{"max_pending_messages": 100}, {"max_pending_bytes": 100 * 85}])
async def test_a_full_queue_drops_counts_and_logs_once_per_burst(
    nats_server_shared: NatsServer, limits: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log()
    prefix = f"drops-{next(iter(limits))}"
    made = running(
        nats_server_shared.url,
        adder(),
        events=(Endpoint(Happened, log),),
        limit=2,
        subject_prefix=prefix,
        **limits,  # type: ignore[arg-type]
    )
    async with made as both:
        for number in range(1000):
            await publish(both, Happened(number % 100))
        # A request that is answered after them tells that all of them have arrived.
        assert (await send(both, Add(1, 2))).is_success
        dropped = count(both, "events_dropped")
        assert 850 < dropped < 950
        log.open.set()
        await eventually(lambda: len(log.numbers) == 1000 - dropped)
    assert "".join(capsys.readouterr()).count("too many deliveries wait") == 1


async def test_a_failing_event_handler_stops_nothing_and_is_logged_without_the_payload(
    nats_server_shared: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    handled: list[int] = []

    async def explode(event: Happened, context: MessageContext) -> None:
        handled.append(event.number)
        raise ValueError(event)

    listener = Endpoint(Happened, explode)
    async with running(nats_server_shared.url, events=(listener,), subject_prefix="explode") as both:
        for number in range(3):
            await publish(both, Happened(number))
        await eventually(lambda: handled == [0, 1, 2])
    logged = "".join(capsys.readouterr())
    assert logged.count("ValueError at ") == 3
    assert "Happened(number" not in logged


async def test_events_without_a_listener_go_nowhere_and_an_oversized_one_raises(
    nats_server_shared: NatsServer,
) -> None:
    async with running(nats_server_shared.url, max_payload=1024, subject_prefix="nowhere") as sender:
        await publish(sender, Happened(1))
        assert count(sender, "events_published") == 1
        with pytest.raises(MessageTooLargeError) as raised:
            await publish(sender, Blob(b"x" * 2000))
        assert raised.value.limit == 1024


async def test_publishing_faster_than_the_socket_takes_it_waits_and_loses_nothing(
    nats_server_shared: NatsServer,
) -> None:
    received = 0

    async def handle(event: Blob, context: MessageContext) -> None:
        nonlocal received
        received += len(event.data)

    listener = Endpoint(Blob, handle)
    async with running(nats_server_shared.url, events=(listener,), subject_prefix="flood") as both:
        data = b"x" * 100_000
        for _ in range(200):
            await publish(both, Blob(data))
            unsent = both.health().details["unsent_bytes"]
            assert unsent < 3 * 1024 * 1024
        await eventually(lambda: received == 200 * 100_000)
