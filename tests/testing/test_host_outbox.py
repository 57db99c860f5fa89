"""`test_host` knows what is still in the outbox, and where dead letters are replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catga_core import CatgaError, CatgaMediator, CatgaOptions, Command, Event, add_catga, message
from catga_core.builtin_plugins import add_memory_transport
from catga_core.reliability import DeadLetterQueue
from catga_testing import NotSettledError, test_host
from catga_testing.recording.records import Outcome


class Pay(Command[None]):
    then: str = "succeed"


@message(name="host.Paid")
class Paid(Event):
    step: int = 1


async def pay(message: Pay, mediator: CatgaMediator) -> None:
    await mediator.publish(Paid())
    if message.then == "fail":
        raise ValueError("no paper")


@pytest.mark.parametrize("transport", [False, True])
async def test_what_is_in_the_outbox_is_waited_for_with_all_that_comes_of_it(transport: bool) -> None:
    seen: list[int] = []

    async def again(message: Paid, mediator: CatgaMediator) -> None:
        seen.append(message.step)
        if message.step < 3:
            await mediator.publish(Paid(message.step + 1))

    catga = add_catga(CatgaOptions(enable_outbox=True))
    catga.add_handlers(pay, again)
    if transport:
        add_memory_transport(catga, "memory://host-outbox")
    async with test_host(catga) as host:
        await host.send(Pay())
        assert seen == [1, 2, 3]
        assert [each.message.step for each in host.published(Paid)] == [1, 2, 3]


@pytest.mark.parametrize("relay", [True, False])
async def test_rolled_back_event_was_not_published(relay: bool, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'app.db'}"
    catga = add_catga(CatgaOptions(store=store, enable_outbox=True, enable_outbox_relay=relay))
    catga.add_handlers(pay)
    async with test_host(catga) as host:
        result = await host.send(Pay("fail"))
        assert not result.is_success
        assert host.published(Paid) == []

        await host.send(Pay())
        assert [each.outcome for each in host.published(Paid)] == [Outcome.SUCCEEDED]


async def test_event_of_a_nested_command_that_is_rolled_back_alone_was_not_published() -> None:
    class PayTwice(Command[None]):
        pass

    async def pay_twice(message: PayTwice, mediator: CatgaMediator) -> None:
        await mediator.send(Pay("fail"))
        await mediator.publish(Paid(2))

    catga = add_catga(CatgaOptions(enable_outbox=True))
    catga.add_handlers(pay, pay_twice)
    async with test_host(catga) as host:
        assert (await host.send(PayTwice())).is_success
        assert [each.message.step for each in host.published(Paid)] == [2]


async def test_event_in_an_outbox_that_this_process_does_not_relay_is_not_waited_for(tmp_path: Path) -> None:
    # No event handlers and no transport: another process relays.
    catga = add_catga(CatgaOptions(store=f"sqlite:///{tmp_path / 'app.db'}", enable_outbox=True))
    catga.add_handlers(pay)
    async with test_host(catga) as host:
        await host.send(Pay())
        assert (await host.app.outbox.stats()).pending == 1


async def test_what_cannot_be_relayed_is_named() -> None:
    class Broken:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def publish(self, *_: Any) -> None:
            raise CatgaError("no connection", code="TRANSPORT_FAILED")

    from catga_core import Transport
    from catga_core.memory import LocalBus, LocalTransport

    catga = add_catga(CatgaOptions(enable_outbox=True))
    catga.add_handlers(pay)
    catga.add_singleton(Transport, Broken(LocalTransport(LocalBus())), instance=True)
    async with test_host(catga) as host:
        with pytest.raises(NotSettledError, match=r"Paid .* waits in the outbox of app"):
            await host.send(Pay(), within=0.1)


async def test_dead_letters_are_replayed_through_a_host() -> None:
    fails = True

    async def may_fail(message: Paid) -> None:
        if fails:
            raise ValueError("no paper")

    catga = add_catga(CatgaOptions(enable_dead_letter_queue=True))
    catga.add_handlers(may_fail)
    async with test_host(catga) as host:
        await host.publish(Paid())
        queue = host.app.get(DeadLetterQueue)
        [letter] = (await queue.find()).letters
        fails = False
        assert (await queue.replay(letter.id)).is_success
