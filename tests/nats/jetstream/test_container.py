"""A container whose events and enqueued commands are kept by JetStream."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from catga_core import CatgaContainer, CatgaOptions, Command, Delivery, Event, add_catga
from catga_core.features.queues.feature import add_queues
from catga_core.features.queues.options import OnKeyFailure, QueueOptions
from catga_core.interfaces.dead_letters import DeadLetter
from catga_core.messages.ordering import ordered_by
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually
from tests.core.support import run_program

pytestmark = pytest.mark.nats


class Placed(Event, frozen=True):
    number: int


@ordered_by(lambda event: event.order)
class Changed(Event, frozen=True):
    order: str
    step: int


class Bill(Command[int], frozen=True):
    number: int


Handle = Callable[[Any], Any]


def container(server: NatsServer, prefix: str, *handlers: Handle, **options: Any) -> CatgaContainer:
    made = add_catga(CatgaOptions(service_name="shop"))
    if options:
        add_queues(made, QueueOptions(**options))
    add_nats_catga(made, NatsOptions(server.url, subject_prefix=prefix, enable_jetstream=True))
    made.add_handlers(*handlers)
    return made


@pytest.fixture
def prefix() -> str:
    return f"c{uuid.uuid4().hex[:12]}"


async def test_an_event_is_handled_in_another_process_that_starts_later(
    jetstream_shared: NatsServer, prefix: str
) -> None:
    seen: list[int] = []

    async def ship(event: Placed) -> None:
        seen.append(event.number)

    async with container(jetstream_shared, prefix, ship).running():
        pass
    publisher = container(jetstream_shared, prefix)
    async with publisher.running() as app:
        for number in range(20):
            await app.mediator.publish(Placed(number))
    async with container(jetstream_shared, prefix, ship).running():
        await eventually(lambda: len(seen) == 20, within=15)
    assert sorted(seen) == [*range(20)]


async def test_a_failing_handler_is_called_again_and_its_key_waits(
    jetstream_shared: NatsServer, prefix: str
) -> None:
    seen: list[tuple[str, int]] = []
    failed: set[str] = set()

    async def note(event: Changed) -> None:
        if event.step == 1 and event.order not in failed:
            failed.add(event.order)
            raise RuntimeError("not yet")
        seen.append((event.order, event.step))

    async with container(jetstream_shared, prefix, note, retry_delay_seconds=0.2).running() as app:
        for step in range(5):
            await asyncio.gather(*(app.mediator.publish(Changed(f"o{each}", step)) for each in range(10)))
        await eventually(lambda: len(seen) == 50, within=15)
    for order in {each for each, _ in seen}:
        assert [step for each, step in seen if each == order] == [0, 1, 2, 3, 4]


async def test_a_command_is_handled_and_its_result_kept(jetstream_shared: NatsServer, prefix: str) -> None:
    async def bill(command: Bill) -> int:
        return command.number * 2

    async with container(jetstream_shared, prefix, bill, keep_results=True).running() as app:
        known = await app.mediator.enqueue(Bill(21))
        later = await app.mediator.enqueue(Bill(1), delay=3600)

        async def kept() -> Any:
            state = await app.mediator.enqueued(known)
            return state is not None and state.result

        assert (await eventually(kept, within=15)).value == 42
        waiting = await app.mediator.enqueued(later)
        assert waiting is not None
        assert waiting.state == "scheduled"
        assert await app.mediator.cancel(later)
        assert await app.mediator.enqueued(later) is None


# In a process of its own: a handler of all events handles every event class that is imported, those of other tests included.
AUDIT = """
import asyncio, os
from catga_core import CatgaOptions, Event, add_catga
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.waiting import eventually
from tests.core.support import run_program

class Placed(Event):
    number: int

class Changed(Event):
    order: str

seen = []

async def audit(event: Event) -> None:
    seen.append(event)

def container():
    catga = add_catga(CatgaOptions(service_name="shop"))
    options = NatsOptions(os.environ["URL"], subject_prefix=os.environ["PREFIX"], enable_jetstream=True)
    add_nats_catga(catga, options)
    catga.add_handlers(audit)
    return catga

async def settled(app):
    stats = await app.message_queues.stats()
    return all(each.ready == each.leased == 0 for each in stats.values())

async def main():
    async with container().running() as app:
        await app.mediator.publish(Placed(1))
        await app.mediator.publish(Changed("o1"))
        await eventually(lambda: len(seen) >= 2, within=15)
        # Until the server knows the end of a message, it may deliver it again.
        await eventually(lambda: settled(app), within=15)
    # Its queue is there by now: what was left in it would come.
    async with container().running() as app:
        await app.mediator.publish(Placed(2))
        await eventually(lambda: Placed(2) in seen, within=15)
    print(sorted(map(repr, seen)))

asyncio.run(main())
"""


def test_a_handler_of_all_events_gets_each_once(jetstream_shared: NatsServer, prefix: str) -> None:
    out = run_program(AUDIT, environment={"URL": jetstream_shared.url, "PREFIX": prefix}, timeout=60)

    assert out.splitlines()[-1] == "[\"Changed(order='o1')\", 'Placed(number=1)', 'Placed(number=2)']"


async def test_a_poison_event_becomes_a_dead_letter(jetstream_shared: NatsServer, prefix: str) -> None:
    async def ship(event: Placed) -> None:
        raise RuntimeError("never")

    async with container(
        jetstream_shared, prefix, ship, max_attempts=2, retry_delay_seconds=0.05
    ).running() as app:
        await app.mediator.publish(Placed(1), message_id="poison")

        async def dead() -> Sequence[DeadLetter]:
            return (await app.dead_letters.find()).letters

        (letter,) = await eventually(dead, within=15)
    assert (letter.attempts, letter.context.message_id, letter.queue) == (
        2,
        "poison",
        f"event:shop:{letter.handler}",
    )


def test_a_url_turns_it_on() -> None:
    assert NatsOptions.from_url("nats://a:4222?jetstream=true").enable_jetstream
    assert NatsOptions.from_url("nats://a:4222?name=x&enable_jetstream=true").enable_jetstream
    assert not NatsOptions("nats://a:4222").enable_jetstream


async def test_options_of_queues_stay_the_applications(jetstream_shared: NatsServer, prefix: str) -> None:
    made = container(jetstream_shared, prefix, on_failure=OnKeyFailure.PARK_KEY)
    assert made.has_feature("queues")


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("mode", ["fail", "wait"])
async def test_a_stop_without_the_server_is_clean_and_within_its_limit(
    server: NatsServer, prefix: str, end: str, mode: str
) -> None:
    seen: list[int] = []

    async def ship(event: Placed) -> None:
        seen.append(event.number)

    made = add_catga(CatgaOptions(service_name="shop", shutdown_timeout_seconds=1.0))
    add_queues(made, QueueOptions(delivery=Delivery.AT_LEAST_ONCE))
    options: Any = {"while_disconnected": mode, "subject_prefix": prefix, "enable_jetstream": True}
    add_nats_catga(made, NatsOptions(server.url, **options))
    made.add_handlers(ship)
    async with made.running() as app:
        await app.mediator.publish(Placed(number=1))
        await eventually(lambda: seen == [1], within=10)
        # A stop over its limit would raise.
        await getattr(server, end)()
    assert seen == [1]
