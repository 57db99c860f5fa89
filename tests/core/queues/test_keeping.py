"""Who keeps an event that is delivered at least once, and which compositions cannot."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaError,
    CatgaOptions,
    Command,
    ConfigurationError,
    Delivery,
    Event,
    EventHandler,
    Priority,
    Query,
    ScheduledId,
    SystemClock,
    add_catga,
    message,
    message_type,
    scheduled_id,
)
from catga_core.builtin_plugins import add_memory_transport
from catga_core.errors import TransportError
from catga_core.features.queues.stored import StoredQueues, StoredSettings
from catga_core.interfaces import DurableCapabilities, DurableTransport, QueueState, QueueStore, Storage
from catga_core.interfaces.durable_transport import Received, event_queue
from catga_core.reliability import QueueOptions, add_queues
from catga_testing.waiting import eventually


@message(delivery="at_least_once")
class Kept(Event):
    number: int


class Plain(Event):
    number: int


class Do(Command[int]):
    number: int = 1


class Ask(Query[int]):
    pass


def service(name: str, had: list[str], *, fails: int = 0) -> CatgaContainer:
    catga = add_catga(CatgaOptions(service_name=name))
    add_memory_transport(catga, "memory://keeping")
    add_queues(catga, QueueOptions(retry_delay_seconds=0.02, poll_seconds=0.05))
    left = [fails]

    async def note(event: Kept) -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("away")
        had.append(f"{name} {event.number}")

    catga.add_handlers(note)
    return catga


async def test_each_service_on_a_bus_keeps_the_event() -> None:
    had: list[str] = []
    orders, mails = service("orders", had), service("mails", had, fails=2)

    async with orders.running() as app, mails.running() as other:
        await app.mediator.publish(Kept(1))

        await eventually(lambda: sorted(had) == ["mails 1", "orders 1"])
        assert [await each.message_queues.stats() for each in (app, other)] == [{}, {}]


async def test_declared_delivery_without_queues_does_not_start() -> None:
    catga = add_catga()

    async def note(event: Kept) -> None:
        raise AssertionError

    catga.add_handlers(note)

    with pytest.raises(ConfigurationError, match="enable_queues"):
        catga.validate()


async def test_declared_delivery_without_queues_is_not_published() -> None:
    async with add_catga().running() as app:
        with pytest.raises(ConfigurationError, match="enable_queues"):
            await app.mediator.publish(Kept(1))


async def test_default_delivery_is_an_option() -> None:
    had: list[int] = []
    catga = add_catga()
    add_queues(catga, QueueOptions(delivery=Delivery.AT_LEAST_ONCE, retry_delay_seconds=0.02))

    async def note(event: Plain) -> None:
        had.append(event.number)
        if len(had) == 1:
            raise RuntimeError("once")

    catga.add_handlers(note)
    async with catga.running() as app:
        await app.mediator.publish(Plain(1))

        await eventually(lambda: had == [1, 1])


async def test_handler_of_all_events_has_a_queue() -> None:
    had: list[Event] = []
    catga = add_catga()
    add_queues(catga)

    async def note(event: Event) -> None:
        had.append(event)

    catga.add_handlers(note)
    async with catga.running() as app:
        await app.mediator.publish(Kept(1))

        await eventually(lambda: had == [Kept(1)])


async def test_queues_are_enabled_by_the_flag() -> None:
    async with add_catga(CatgaOptions(enable_queues=True)).running() as app:
        assert await app.message_queues.stats() == {}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"delay": -1}, ValueError),
        ({"delay": float("inf")}, ValueError),
        ({"delay": "soon"}, (TypeError, ValueError)),
        ({"delay": 1, "at": datetime.now(UTC)}, ValueError),
        ({"at": datetime(2030, 1, 1)}, ValueError),  # noqa: DTZ001 - it is refused
        ({"at": 5.0}, TypeError),
        ({"key": ""}, ValueError),
        ({"priority": 7}, ValueError),
        ({"message_id": ""}, TypeError),
        ({"message_id": 5}, TypeError),
    ],
)
async def test_wrong_argument_of_enqueue_is_refused(given: dict[str, Any], error: type[Exception]) -> None:
    async with add_catga(CatgaOptions(enable_queues=True)).running() as app:
        with pytest.raises(error):
            await app.mediator.enqueue(Do(), **given)
        assert await app.message_queues.stats() == {}


@pytest.mark.parametrize("given", [Ask(), Kept(1), Do])
async def test_only_commands_are_enqueued(given: Any) -> None:
    async with add_catga(CatgaOptions(enable_queues=True)).running() as app:
        with pytest.raises(TypeError, match=r"enqueue\(\) takes a Command"):
            await app.mediator.enqueue(given)


async def test_enqueue_without_queues_names_the_option() -> None:
    async with add_catga().running() as app:
        for call in (
            lambda: app.mediator.enqueue(Do()),
            lambda: app.mediator.cancel(ScheduledId("Do:1")),
            lambda: app.mediator.enqueued(ScheduledId("Do:1")),
        ):
            with pytest.raises(ConfigurationError, match="enable_queues"):
                await call()


async def test_malformed_scheduled_id_is_refused() -> None:
    async with add_catga(CatgaOptions(enable_queues=True)).running() as app:
        for malformed in ("", "Do", ":1", "Do:", 5):
            with pytest.raises(ValueError, match="ScheduledId"):
                await app.mediator.cancel(malformed)  # type: ignore[arg-type]  # what a user may pass
    with pytest.raises(TypeError, match="command"):
        scheduled_id(Kept, "1")


async def test_enqueued_command_waits_for_a_process_that_handles_it() -> None:
    async with add_catga(CatgaOptions(enable_queues=True)).running() as app:
        scheduled = await app.mediator.enqueue(
            Do(), delay=timedelta(hours=1), key="k", priority=Priority.LOW, message_id="one"
        )

        assert scheduled == scheduled_id(Do, "one") == "Do:one"
        [entry] = (await app.message_queues.find()).entries
        assert (entry.queue, entry.state) == ("command:Do", QueueState.SCHEDULED)
        assert (entry.message.key, entry.message.priority) == ("k", Priority.LOW)
        assert await app.message_queues.cancel("command:Do", "one")


def test_delivery_is_declared_by_value_or_by_text() -> None:
    assert message_type(Kept).delivery is Delivery.AT_LEAST_ONCE
    assert message_type(Plain).delivery is None
    for wrong in ("sometimes", 1):
        with pytest.raises((ConfigurationError, ValueError), match="AT_LEAST_ONCE"):
            message(delivery=wrong)  # type: ignore[arg-type]  # what a user may pass


def test_delivery_of_a_query_is_refused() -> None:
    @message(delivery="at_least_once")
    class Wrong(Query[int]):
        pass

    with pytest.raises((TypeError, ConfigurationError), match="delivery"):
        message_type(Wrong)


async def test_queues_in_memory_are_emptied_at_the_stop() -> None:
    had: list[int] = []
    catga = add_catga(CatgaOptions(enable_queues=True))

    async def do(command: Do) -> int:
        await asyncio.sleep(0)
        had.append(command.number)
        return 1

    catga.add_handlers(do)
    async with catga.running() as app:
        for number in range(100):
            await app.mediator.enqueue(Do(number))

    assert sorted(had) == list(range(100))


class Elsewhere(StoredQueues):
    """A durable transport outside of the container's storage, as a broker is; it is only asked what it can do."""

    @property
    def capabilities(self) -> DurableCapabilities:
        return DurableCapabilities(durable=True, remote=True, transactional=False)


def beside_storage(catga: CatgaContainer, made: type[Elsewhere] = Elsewhere) -> None:
    queues = made(
        lambda: catga.get(QueueStore),
        lambda: catga.get(Storage),
        SystemClock(),
        StoredSettings(lease=30.0, poll=1.0, longest_delay=600.0),
    )
    catga.add_singleton(DurableTransport, queues, instance=True)


def beside(handler: Any, **options: Any) -> CatgaContainer:
    catga = add_catga(CatgaOptions(enable_queues=True, **options))
    beside_storage(catga)
    catga.add_handlers(handler)
    return catga


async def do_it(command: Do) -> int:
    raise AssertionError


def test_default_delivery_is_not_that_of_commands() -> None:
    catga = beside(do_it)
    add_queues(catga, QueueOptions(delivery=Delivery.EXACTLY_ONCE))
    catga.validate()


@message(delivery="exactly_once")
class Paid(Event):
    pass


@message(delivery="exactly_once")
class Pay(Command[None]):
    pass


async def on_paid(event: Paid) -> None:
    raise AssertionError


async def pay(command: Pay) -> None:
    raise AssertionError


def test_exactly_once_over_a_broker_requires_the_inbox() -> None:
    with pytest.raises(ConfigurationError, match="enable_inbox"):
        beside(on_paid).validate()
    beside(on_paid, enable_inbox=True).validate()


class Forgetful(Elsewhere):
    """Does not learn that the first attempt has ended, as a broker whose connection is lost."""

    async def complete(self, received: Received, /, *, result: bytes | None = None) -> None:
        if received.attempt == 1:
            await self.retry(received, delay=0.0, error="lost")
            raise TransportError("the connection was lost")
        await super().complete(received, result=result)


async def test_message_whose_effects_were_committed_is_no_dead_letter() -> None:
    catga = add_catga(CatgaOptions(service_name="shop", enable_inbox=True, enable_dead_letter_queue=True))
    add_queues(catga, QueueOptions(max_attempts=1))
    beside_storage(catga, Forgetful)
    paid: list[str] = []

    class Note(EventHandler[Paid]):
        async def handle(self, message: Paid) -> None:
            paid.append("paid")

    catga.add_handlers(Note)
    queue = event_queue("shop", "Note")
    async with catga.running() as app:
        await app.mediator.publish(Paid(), message_id="p1")

        async def is_done() -> bool:
            entry = await app.message_queues.get(queue, "p1")
            return entry is not None and entry.state is QueueState.DONE

        await eventually(is_done)
        assert await app.dead_letters.count() == 0
    assert paid == ["paid"]


def test_command_exactly_once_over_a_broker_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="@idempotent"):
        beside(pay, enable_inbox=True).validate()


async def test_message_in_a_unit_of_work_without_the_outbox_is_refused_over_a_broker() -> None:
    catga = add_catga(CatgaOptions(enable_queues=True))
    beside_storage(catga)
    async with catga.running() as app:
        await app.mediator.publish(Kept(1))
        async with catga.unit_of_work():
            for call in (lambda: app.mediator.publish(Kept(2)), lambda: app.mediator.enqueue(Do(2))):
                with pytest.raises(CatgaError, match="enable_outbox") as refused:
                    await call()
                assert refused.value.code == "INTERNAL_ERROR"
        assert (await app.message_queues.find()).entries == []


async def test_message_in_a_unit_of_work_goes_through_the_outbox_to_a_broker() -> None:
    catga = add_catga(CatgaOptions(enable_queues=True, enable_outbox=True, outbox_poll_seconds=0.05))
    beside_storage(catga)
    had: list[str] = []

    async def on_kept(event: Kept) -> None:
        had.append(f"event {event.number}")

    async def do(command: Do) -> int:
        had.append(f"command {command.number}")
        return 1

    catga.add_handlers(on_kept, do)
    async with catga.running() as app:
        with pytest.raises(ZeroDivisionError):
            async with catga.unit_of_work():
                await app.mediator.publish(Kept(1))
                await app.mediator.enqueue(Do(1))
                raise ZeroDivisionError
        async with catga.unit_of_work():
            await app.mediator.publish(Kept(2))
            scheduled = await app.mediator.enqueue(Do(2), key="k", message_id="two")

        await eventually(lambda: sorted(had) == ["command 2", "event 2"])
        assert scheduled == scheduled_id(Do, "two")
