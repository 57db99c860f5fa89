"""What is committed to the outbox reaches another service over NATS, also through an outage of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catga_core import (
    CatgaContainer,
    CatgaMediator,
    CatgaOptions,
    Command,
    Event,
    add_catga,
    current_context,
    message,
)
from catga_nats import NatsOptions, add_nats_catga
from catga_sqlite import add_sqlite_catga
from catga_testing.servers import NatsServer
from catga_testing.waiting import eventually

pytestmark = pytest.mark.nats


@message(name="nats.outbox.Pay")
class Pay(Command[None]):
    number: int


@message(name="nats.outbox.Paid")
class Paid(Event):
    number: int


async def pay(message: Pay, mediator: CatgaMediator) -> None:
    await mediator.publish(Paid(message.number))


def service(url: str, file: Path, **options: Any) -> CatgaContainer:
    chosen: dict[str, Any] = {
        "outbox_poll_seconds": 0.05,
        "outbox_retry_delay_seconds": 0.05,
        "outbox_retry_max_delay_seconds": 0.2,
        **options,
    }
    catga = add_catga(CatgaOptions(**chosen))
    add_sqlite_catga(catga, str(file))
    add_nats_catga(catga, NatsOptions(url, while_disconnected="fail"))
    return catga


async def test_what_was_committed_during_an_outage_arrives_after_it_though_the_process_has_ended(
    nats_server: NatsServer, tmp_path: Path
):
    seen: list[tuple[int, str | None]] = []

    async def on_paid(event: Paid) -> None:
        seen.append((event.number, current_context().causation_id))

    def payments() -> CatgaContainer:
        catga = service(
            nats_server.url, tmp_path / "payments.db", service_name="payments", enable_outbox=True
        )
        catga.add_handlers(pay)
        return catga

    mails = service(nats_server.url, tmp_path / "mails.db", service_name="mails", enable_inbox=True)
    mails.add_handlers(on_paid)
    async with mails.running() as other:
        async with payments().running() as app:
            assert (await app.mediator.send(Pay(0), message_id="pay-0")).is_success
            await eventually(lambda: seen == [(0, "pay-0")])

            await nats_server.kill()
            # What is sent before the loss is noticed is on its way at most once, as everything over core NATS.
            await eventually(lambda: app.health()["transport"].details["state"] == "reconnecting")
            for number in range(1, 6):
                assert (await app.mediator.send(Pay(number), message_id=f"pay-{number}")).is_success
            await eventually(lambda: app.health()["outbox_relay"].details["failed_attempts"] > 0)

        await nats_server.restart()
        await eventually(lambda: other.health()["transport"].details["state"] == "connected", within=15)
        assert len(seen) == 1
        async with payments().running():
            await eventually(lambda: len(seen) == 6)

    assert sorted(seen) == [(number, f"pay-{number}") for number in range(6)]
