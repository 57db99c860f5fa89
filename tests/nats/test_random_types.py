"""Random commands and results: refused, or the same wherever their handler runs."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Literal

import pytest

from catga_core import CatgaOptions, add_catga
from catga_core.interfaces import Transport
from catga_core.memory import LocalTransport, local_bus
from catga_core.messages import message_type
from catga_core.messages.encodable import codec_problems
from catga_nats import NatsOptions, add_nats_catga
from catga_testing.servers import NatsServer
from tests.random_types import equal, make_command, spoiled

TYPES = 25


def echoing(cls: Any) -> Any:
    async def echo(command: Any) -> Any:
        return command.value

    echo.__annotations__["command"] = cls
    return echo


def pair(add: Any, serializer: str, handlers: list[Any]) -> tuple[Any, Any]:
    service = add_catga(CatgaOptions(service_name="random"))
    client = add_catga(CatgaOptions(service_name="client"))
    for catga in (service, client):
        add(catga)
    service.add_handlers(*handlers)
    return service, client


async def exchange(service: Any, client: Any, made: list[Any], rng: Random) -> Counter[str]:
    counts = Counter[str]()
    async with service.running(), client.running() as app:
        for _, make in made:
            for command in (make(rng), make(rng), spoiled(rng, make(rng))):
                # It never raises, whatever is in the message.
                result = await app.mediator.send(command, timeout=10)
                if result.is_success:
                    counts["kept"] += 1
                    assert equal(result.value, command.value), (command, result)
                else:
                    counts[result.error.code] += 1
    return counts


def random_commands(seed: str) -> list[Any]:
    rng = Random(seed)
    made = [make_command(rng) for _ in range(TYPES)]
    return [each for each in made if not codec_problems(message_type(each[0]))]


@pytest.mark.parametrize("form", ["body", "headers"])
@pytest.mark.parametrize("serializer", ["msgpack", "json"])
async def test_random_commands_over_nats_are_refused_or_answered_equal(
    nats_server_shared: NatsServer, form: Literal["body", "headers"], serializer: Any
) -> None:
    settings = NatsOptions(
        nats_server_shared.url,
        envelope=form,
        serializer=serializer,
        subject_prefix=f"rnd-{form}-{serializer}",
    )
    made = random_commands(f"nats {form} {serializer}")
    handlers = [echoing(cls) for cls, _ in made]
    service, client = pair(lambda catga: add_nats_catga(catga, settings), serializer, handlers)
    counts = await exchange(service, client, made, Random(form))
    assert set(counts) <= {"kept", "SERIALIZATION_FAILED", "VALIDATION_FAILED"}, counts
    assert counts["kept"] > TYPES


async def test_random_commands_in_one_process_are_answered_equal() -> None:
    made = random_commands("local")
    handlers = [echoing(cls) for cls, _ in made]

    def add(catga: Any) -> None:
        catga.add_singleton(Transport, lambda: LocalTransport(local_bus("random types")))

    counts = await exchange(*pair(add, "", handlers), made, Random("local"))
    assert set(counts) <= {"kept", "VALIDATION_FAILED", "SERIALIZATION_FAILED"}, counts
    assert counts["kept"] > TYPES
